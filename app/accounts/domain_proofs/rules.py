"""What proves that an organisation owns a domain: no database, no clock, no HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.core.security.derived_keys import compute_keyed_hash

RECORD_LABEL = "_tessera-challenge"
VALUE_PREFIX = "tessera-domain-verification="
# Mailboxes that only the owner of a domain can have (RFC 2142; the Baseline Requirements for certificates name both).
OWNER_MAILBOXES = ("postmaster", "admin")
HASH_BYTES = 20


@dataclass(frozen=True)
class TxtRecord:
    """A TXT record of the DNS."""

    name: str
    value: str


def make_record(secret_key: str, org_id: UUID, domain: str) -> TxtRecord:
    """Return the record that proves a domain for an organisation. It is always the same, so it is stored nowhere."""
    proof = compute_keyed_hash(secret_key, "domain proof", UUID(str(org_id)).bytes + domain.encode())
    return TxtRecord(f"{RECORD_LABEL}.{domain}", VALUE_PREFIX + proof[:HASH_BYTES].hex())


def list_owner_addresses(domain: str) -> list[str]:
    """Return the addresses that a link is mailed to."""
    return [f"{mailbox}@{domain}" for mailbox in OWNER_MAILBOXES]


def get_domain_of(address: str) -> str:
    """Return the domain that a link to this address proves."""
    return address.rpartition("@")[2]
