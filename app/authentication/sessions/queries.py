"""Reads of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, selectinload

from app.access.callers import Principal
from app.access.permissions import Role
from app.access.tenant import Tenant
from app.accounts.users.models import Credential, Person
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import Status
from app.authentication.sessions.models import Session
from app.core.errors import NotFound
from app.organisations.models import Organisation, OrganisationStatus
from app.organisations.queries import as_tenant


class SessionNotFound(NotFound):
    """The signed-in person has no session of this id."""

    code = "session_not_found"
    title = "There is no such session."


async def principal(
    db: AsyncSession, org_id: UUID, person_id: UUID, session_id: UUID, now: datetime
) -> tuple[Tenant, Principal] | None:
    """An active person of an active organisation in a session that has not ended: all that is asked of a request."""
    row = (
        await db.execute(
            select(Person, Organisation, Session.remembered)
            .join(Organisation, Organisation.id == Person.org_id)
            .join(Session, and_(Session.org_id == org_id, Session.person_id == Person.id, Session.id == session_id))
            .outerjoin(Person.custom_role)
            .options(contains_eager(Person.custom_role))
            .where(
                Person.org_id == org_id,
                Person.id == person_id,
                Person.status == Status.ACTIVE,
                Organisation.status == OrganisationStatus.ACTIVE,
                Session.expires_at > now,
            )
        )
    ).first()
    if row is None:
        return None
    person, organisation, remembered = row
    return as_tenant(organisation), principal_of(person, session_id, remembered=remembered)


async def hold(db: AsyncSession, org_id: UUID, person_id: UUID) -> tuple[Person, str | None]:
    """Somebody, and the hash of their password: as they are now, and stay until the transaction ends.

    Raises:
        UserNotFound: there is nobody any more.
    """
    found = (
        await db.execute(
            select(Person, Credential.password_hash)
            .join(Credential, and_(Credential.org_id == org_id, Credential.person_id == Person.id))
            .options(selectinload(Person.custom_role))
            .where(Person.org_id == org_id, Person.id == person_id, Person.status != Status.ERASED)
            # Both: of what is not locked, it would show what there was before the wait for the lock.
            .with_for_update(read=True)
            .execution_options(populate_existing=True)
        )
    ).first()
    if found is None:
        raise UserNotFound
    person, password_hash = found
    return person, password_hash


async def of_person(
    db: AsyncSession, org_id: UUID, person_id: UUID, now: datetime, *, after: UUID | None, limit: int
) -> Sequence[Session]:
    """Where somebody is signed in, the latest first, after the session `after`."""
    statement = (
        select(Session)
        .where(Session.org_id == org_id, Session.person_id == person_id, Session.expires_at > now)
        .order_by(Session.id.desc())
        .limit(limit)
    )
    return (await db.scalars(statement if after is None else statement.where(Session.id < after))).all()


async def count(db: AsyncSession, org_id: UUID, person_id: UUID, now: datetime) -> int:
    """In how many places somebody is signed in."""
    statement = (
        select(func.count())
        .select_from(Session)
        .where(Session.org_id == org_id, Session.person_id == person_id, Session.expires_at > now)
    )
    return await db.scalar(statement) or 0


def principal_of(person: Person, session_id: UUID | None = None, *, remembered: bool = False) -> Principal:
    """The person as requests know them; the row was read with `custom_role`."""
    return Principal(
        id=person.id,
        email=person.email,
        first_name=person.first_name,
        last_name=person.last_name,
        role=Role(person.role),
        role_id=person.of_role,
        designation=person.designation,
        permissions=person.permissions,
        second_factor=person.second_factor,
        session_id=session_id,
        remembered=remembered,
    )
