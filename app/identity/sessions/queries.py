"""Reads of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager

from app.core.errors import NotFound
from app.identity.people.models import Person, Status
from app.identity.sessions.models import Session
from app.organisations.caller import Principal
from app.organisations.models import Organisation
from app.organisations.permissions import Role
from app.organisations.queries import as_tenant
from app.organisations.tenant import Tenant


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
            select(Person, Organisation)
            .join(Organisation, Organisation.id == Person.org_id)
            .join(Session, and_(Session.org_id == org_id, Session.person_id == Person.id, Session.id == session_id))
            .outerjoin(Person.custom_role)
            .options(contains_eager(Person.custom_role))
            .where(
                Person.org_id == org_id,
                Person.id == person_id,
                Person.status == Status.ACTIVE,
                Organisation.status == "ACTIVE",
                Session.expires_at > now,
            )
        )
    ).first()
    if row is None:
        return None
    person, organisation = row
    return as_tenant(organisation), principal_of(person, session_id)


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


async def is_remembered(db: AsyncSession, org_id: UUID, session_id: UUID | None) -> bool:
    """Whether a session is one of the longer ones.

    Raises:
        SessionNotFound: it has ended.
    """
    found = await db.scalar(select(Session.remembered).where(Session.org_id == org_id, Session.id == session_id))
    if found is None:
        raise SessionNotFound
    return found


def principal_of(person: Person, session_id: UUID | None = None) -> Principal:
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
    )
