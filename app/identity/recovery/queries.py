"""Reads of what is needed to get back into an account."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.identity.people import queries as people
from app.identity.people.models import Credential, Person, Status
from app.identity.people.queries import UserNotFound
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant
from app.organisations.tenant import Tenant


async def account(db: AsyncSession, org_id: UUID, person_id: UUID) -> tuple[Person, Credential]:
    """Somebody of the organisation, and what they sign in with.

    Raises:
        UserNotFound
    """
    return await people.person(db, org_id, person_id), await _credential(db, org_id, person_id)


async def lock_account(db: AsyncSession, org_id: UUID, person_id: UUID) -> tuple[Person, Credential]:
    """The same, locked until the transaction ends: whoever changes what somebody signs in with holds their person.

    Raises:
        UserNotFound
    """
    return await people.lock(db, org_id, person_id), await _credential(db, org_id, person_id)


async def _credential(db: AsyncSession, org_id: UUID, person_id: UUID) -> Credential:
    found = await db.scalar(
        select(Credential)
        .where(Credential.org_id == org_id, Credential.person_id == person_id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found


async def active_tenant(db: AsyncSession, org_id: UUID) -> Tenant | None:
    """The organisation, unless it is suspended."""
    organisation = await db.scalar(
        select(Organisation).where(Organisation.id == org_id, Organisation.status == "ACTIVE")
    )
    return as_tenant(organisation) if organisation else None


async def has_email(db: AsyncSession, org_id: UUID, email: str) -> UUID | None:
    """Who of the organisation has this e-mail, if anybody."""
    found: UUID | None = await db.scalar(
        select(Person.id).where(Person.org_id == org_id, Person.email == email, Person.status != Status.ERASED)
    )
    return found
