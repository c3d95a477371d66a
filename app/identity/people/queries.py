"""Reads of people."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.core.errors import NotFound
from app.identity.people.models import Credential, Person, Status
from app.organisations.models import Organisation
from app.organisations.permissions import Role

MAX_ACCOUNTS_PER_EMAIL = 1000


class UserNotFound(NotFound):
    """Nobody of the caller's organisation has this id."""

    code = "user_not_found"
    title = "There is no such user."


async def accounts(db: AsyncSession, email: str, domain: str | None) -> Sequence[Row[UUID, UUID, str | None]]:
    """The accounts that an e-mail may sign in to: (org_id, person_id, password_hash).

    At most `MAX_ACCOUNTS_PER_EMAIL`, of the oldest organisations: whoever has more names the domain.
    """
    statement = (
        select(Credential.org_id, Credential.person_id, Credential.password_hash)
        .join(Organisation, Organisation.id == Credential.org_id)
        .where(Credential.email == email, Organisation.status == "ACTIVE")
        .order_by(Credential.org_id)
        .limit(MAX_ACCOUNTS_PER_EMAIL)
    )
    if domain is not None:
        statement = statement.where(Organisation.domain == domain)
    return (await db.execute(statement)).all()


async def person(db: AsyncSession, org_id: UUID, person_id: UUID) -> Person:
    """Somebody of the organisation, with their role.

    Raises:
        UserNotFound: there is nobody, or nobody any more.
    """
    found = await db.scalar(
        select(Person)
        .options(selectinload(Person.custom_role))
        .where(Person.org_id == org_id, Person.id == person_id, Person.status != Status.ERASED)
    )
    if found is None:
        raise UserNotFound
    return found


async def lock(db: AsyncSession, org_id: UUID, person_id: UUID) -> Person:
    """The same, locked until the transaction ends.

    Raises:
        UserNotFound
    """
    found = await db.scalar(
        select(Person)
        .options(selectinload(Person.custom_role))
        .where(Person.org_id == org_id, Person.id == person_id, Person.status != Status.ERASED)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found


async def owner_of(db: AsyncSession, org_id: UUID, email: str) -> UUID | None:
    """Who of the organisation has this e-mail, if anybody."""
    found: UUID | None = await db.scalar(
        select(Person.id).where(Person.org_id == org_id, Person.email == email, Person.status != Status.ERASED)
    )
    return found


async def next_in_turn(db: AsyncSession, org_id: UUID) -> Sequence[UUID]:
    """Whom new tickets go to, in the fixed order of the rotation: available engineers, or else available admins."""
    for role in (Role.ENGINEER, Role.ADMIN):
        found = await db.scalars(
            select(Person.id)
            .where(Person.org_id == org_id, Person.role == role, Person.status == Status.ACTIVE, Person.available)
            .order_by(Person.id)
        )
        if available := found.all():
            return available
    return []
