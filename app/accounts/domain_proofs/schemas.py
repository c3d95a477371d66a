"""Define the requests and responses about proofs of domains."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import MISSING, Field

from app.accounts.domain_proofs.rules import TxtRecord, make_record
from app.accounts.single_use_links.schemas import LinkToken
from app.core.fields import OptionalParameter, RequestModel, ResponseModel, UtcTimestamp
from app.organisations.events import ProofMethod
from app.organisations.models import Organisation
from app.organisations.schemas import OwnDomain

_DOMAIN = Field(
    description="The domain to prove. If it is not the organisation's own, it becomes that with the proof. "
    "Default: the organisation's domain.",
    examples=["growfin.com"],
)


class DomainQuery(RequestModel):
    """Select a domain."""

    domain: Annotated[OptionalParameter[OwnDomain], _DOMAIN] = None


class DomainVerification(RequestModel):
    """A domain to prove, and how."""

    method: Annotated[
        ProofMethod,
        Field(
            description="`DNS`: look up the TXT record now. `EMAIL`: mail a link to the domain's postmaster and admin.",
            examples=["EMAIL"],
        ),
    ]
    domain: Annotated[OwnDomain | MISSING, _DOMAIN] = MISSING


class DomainConfirmation(RequestModel):
    """The token of a link that was mailed to the owner of a domain."""

    token: LinkToken


class DnsRecord(ResponseModel):
    """A TXT record."""

    type: Annotated[str, Field(description="The type of the record.", examples=["TXT"])] = "TXT"
    name: Annotated[str, Field(description="Its name.", examples=["_tessera-challenge.growfin.com"])]
    value: Annotated[
        str,
        Field(
            description="Its value.",
            examples=["tessera-domain-verification=5f0c7a1b9d3e48265f0c7a1b9d3e48265f0c7a1b"],
        ),
    ]


class OrganisationDomain(ResponseModel):
    """A domain, whether the organisation has proved it, and what proves it."""

    domain: Annotated[str, Field(description="The domain.", examples=["growfin.com"])]
    verified_at: Annotated[
        UtcTimestamp | None,
        Field(description="When the organisation proved that the domain is its own; null if never."),
    ]
    record: Annotated[DnsRecord, Field(description="The record that proves the domain. It is always the same.")]
    mailed_to: Annotated[
        list[str],
        Field(description="The addresses that a link is being mailed to.", examples=[["postmaster@growfin.com"]]),
    ]

    @classmethod
    def of(cls, organisation: Organisation, domain: str, secret_key: str, mailed_to: list[str]) -> Self:
        """Make the response about a domain, which may or may not be that of the organisation."""
        record: TxtRecord = make_record(secret_key, organisation.id, domain)
        return cls(
            domain=domain,
            verified_at=find_proof_time(organisation, domain),
            record=DnsRecord(name=record.name, value=record.value),
            mailed_to=mailed_to,
        )


class ConfirmedDomain(ResponseModel):
    """The domain that was confirmed."""

    domain: Annotated[str, Field(description="The domain, which is now the organisation's.", examples=["growfin.com"])]


def find_proof_time(organisation: Organisation, domain: str) -> datetime | None:
    """Return when the organisation proved this domain."""
    return organisation.domain_verified_at if organisation.domain == domain else None
