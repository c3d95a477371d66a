"""Prove that a domain belongs to an organisation, and give it to the organisation that has proved it.

Any visitor can sign up with the domain of another organisation. So an organisation that proves a domain takes it over
from one that has not proved it. The other one gets a placeholder, keeps its references, and its admins get a mail.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.domain_proofs.rules import get_domain_of, list_owner_addresses
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.database.violations import raise_on_violation
from app.core.outbox.events import SYSTEM, Actor, ReactionOnly, record
from app.core.outbox.models import Counter
from app.core.security.opaque_tokens import TokenSubject
from app.organisations.errors import DomainTaken
from app.organisations.events import OrganisationDomainLost, OrganisationDomainVerified, ProofMethod
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant, lock_organisation
from app.organisations.rules import derive_reference_prefix, make_placeholder_domain

OpenTransaction = Callable[[UUID], AbstractAsyncContextManager[AsyncSession]]  # of the organisation with this id

MAX_ATTEMPTS = 3  # another organisation may sign up with a domain at the moment at which it is free


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What an organisation has proved."""

    org_id: UUID
    domain: str
    method: ProofMethod
    actor: Actor


async def ensure_available(db: AsyncSession, org_id: UUID, domain: str) -> None:
    """Refuse a domain that another organisation has proved to be its own.

    Raises:
        DomainTaken
    """
    holder = await _find_other_holder(db, org_id, domain)
    if holder is not None and holder.domain_verified_at is not None:
        raise DomainTaken


def mail_links(db: AsyncSession, caller: UserCaller, domain: str) -> list[str]:
    """Mail a link to each address that only the owner of the domain can have; return the addresses."""
    addresses = list_owner_addresses(domain)
    for address in addresses:
        links.send(
            db, caller.org_id, caller.user.id, address, LinkPurpose.VERIFY_DOMAIN, at=caller.now, actor=caller.actor
        )
    return addresses


async def read_proof(database: Database, subject: TokenSubject) -> Proof:
    """Return what the link of a token proves. `accept_proof` uses the link up, so that a failed call can be repeated.

    Raises:
        LinkExpired
    """
    async with database.session(subject.org_id) as db:
        link = await links.find(db, subject, LinkPurpose.VERIFY_DOMAIN)
        await links.get_tenant(db, link)
        return Proof(org_id=link.org_id, domain=get_domain_of(link.email), method=ProofMethod.EMAIL, actor=SYSTEM)


async def accept_proof(
    database: Database, open_transaction: OpenTransaction, proof: Proof, client: str
) -> Organisation:
    """Give the domain to the organisation that has proved it.

    The organisation that held it loses it in a transaction of its own, since row level security separates the events of
    both. If the service is killed in between, the domain is free, and the proof can be repeated. Nothing else may end
    the proof in between: the domain would be lost without a gain. So it counts even if its link is used meanwhile.

    Args:
        open_transaction: opens a transaction that changes what credentials of an organisation resolve to.
        client: describes the client that sends the proof, in a mail to all admins.

    Raises:
        DomainTaken: another organisation has proved it before.
    """
    for _ in range(MAX_ATTEMPTS):
        async with database.session(proof.org_id) as db:
            holder = await _find_other_holder(db, proof.org_id, proof.domain)
        if holder is not None:
            async with open_transaction(holder.id) as db:
                await _displace(db, holder.id, proof.domain)
        try:
            async with open_transaction(proof.org_id) as db:
                return await _set_domain(db, proof, client)
        except DomainTaken:
            continue
    raise DomainTaken


async def _find_other_holder(db: AsyncSession, org_id: UUID, domain: str) -> Organisation | None:
    found: Organisation | None = await db.scalar(
        select(Organisation).where(Organisation.domain == domain, Organisation.id != org_id)
    )
    return found


async def _displace(db: AsyncSession, org_id: UUID, domain: str) -> None:
    """Replace the domain of an organisation that has not proved it. Its references stay as they are.

    Raises:
        DomainTaken: the organisation has proved it.
    """
    await lock_organisation(db, org_id)
    organisation = await db.get_one(Organisation, org_id, populate_existing=True)
    if organisation.domain != domain:
        return
    if organisation.domain_verified_at is not None:
        raise DomainTaken
    organisation.reference_prefix = organisation.reference_prefix or derive_reference_prefix(domain)
    organisation.domain = make_placeholder_domain(org_id)
    now = as_tenant(organisation).now()
    record(db, OrganisationDomainLost(at=now, actor=SYSTEM, domain=domain, new_domain=organisation.domain))


async def _set_domain(db: AsyncSession, proof: Proof, client: str) -> Organisation:
    """Store a proof. References that users know stay as they are; without tickets, they follow the new domain.

    Raises:
        DomainTaken
    """
    await lock_organisation(db, proof.org_id)
    # A link works once. Another one could undo a later change of the domain.
    await db.execute(delete(Link).where(Link.org_id == proof.org_id, Link.purpose == LinkPurpose.VERIFY_DOMAIN))
    organisation = await db.get_one(Organisation, proof.org_id, populate_existing=True)
    previous = organisation.domain
    if previous == proof.domain and organisation.domain_verified_at is not None:
        return organisation
    if previous != proof.domain:
        prefix = organisation.reference_prefix or derive_reference_prefix(previous)
        organisation.reference_prefix = prefix if await _has_tickets(db, proof.org_id) else None
    organisation.domain = proof.domain
    organisation.domain_verified_at = real_now()
    with raise_on_violation(DomainTaken):
        await db.flush()
    record(
        db,
        OrganisationDomainVerified(
            at=as_tenant(organisation).now(),
            actor=proof.actor,
            domain=proof.domain,
            method=proof.method,
            previous_domain=previous,
            client=ReactionOnly(client),
        ),
    )
    return organisation


async def _has_tickets(db: AsyncSession, org_id: UUID) -> bool:
    return bool(await db.scalar(select(Counter.last_number).where(Counter.org_id == org_id)))
