"""Reads of people."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.identity.models import ACTIVE, ADMIN, Credential, Person
from app.organisations.caller import Principal
from app.organisations.models import Organisation
from app.organisations.queries import as_tenant
from app.organisations.tenant import Tenant

MAX_ACCOUNTS_PER_EMAIL = 1000


async def principal(db: AsyncSession, org_id: UUID, person_id: UUID) -> tuple[Tenant, Principal] | None:
    """An active person of an active organisation, with it."""
    row = (
        await db.execute(
            select(Person, Organisation)
            .join(Organisation, Organisation.id == Person.org_id)
            .where(
                Person.org_id == org_id,
                Person.id == person_id,
                Person.status == ACTIVE,
                Organisation.status == ACTIVE,
            )
        )
    ).first()
    if row is None:
        return None
    person, organisation = row
    return as_tenant(organisation), Principal(
        id=person.id,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        role=person.role,
    )


async def accounts(db: AsyncSession, email: str, domain: str | None) -> Sequence[Row[UUID, UUID, str]]:
    """The accounts that an e-mail may sign in to: (org_id, person_id, password_hash).

    At most `MAX_ACCOUNTS_PER_EMAIL`, of the oldest organisations: whoever has more names the domain.
    """
    statement = (
        select(Credential.org_id, Credential.person_id, Credential.password_hash)
        .join(Organisation, Organisation.id == Credential.org_id)
        .where(Credential.email == email, Organisation.status == ACTIVE)
        .order_by(Credential.org_id)
        .limit(MAX_ACCOUNTS_PER_EMAIL)
    )
    if domain is not None:
        statement = statement.where(Organisation.domain == domain)
    return (await db.execute(statement)).all()


async def person(db: AsyncSession, org_id: UUID, person_id: UUID) -> Person | None:
    """Somebody of the organisation."""
    return await db.get(Person, (org_id, person_id))


async def available_admins(db: AsyncSession, org_id: UUID) -> Sequence[UUID]:
    """Those whom new tickets may go to, in the fixed order of the rotation."""
    return (
        await db.scalars(
            select(Person.id)
            .where(Person.org_id == org_id, Person.role == ADMIN, Person.status == ACTIVE, Person.available)
            .order_by(Person.id)
        )
    ).all()
