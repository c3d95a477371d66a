"""Reads of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager, selectinload

from app.access.callers import Principal
from app.access.tenant import Tenant
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.authentication.sessions.models import Session
from app.core.errors import NotFound
from app.organisations.models import Organisation, OrganisationStatus
from app.organisations.queries import as_tenant


class SessionNotFound(NotFound):
    """The signed-in user has no session of this id."""

    code = "session_not_found"
    title = "There is no such session."


async def find_principal(
    db: AsyncSession, org_id: UUID, user_id: UUID, session_id: UUID, now: datetime
) -> tuple[Tenant, Principal] | None:
    """Find an active user of an active organisation by a session that has not ended."""
    row = (
        await db.execute(
            select(User, Organisation, Session.remembered)
            .join(Organisation, Organisation.id == User.org_id)
            .join(Session, and_(Session.org_id == org_id, Session.user_id == User.id, Session.id == session_id))
            .outerjoin(User.role)
            .options(contains_eager(User.role))
            .where(
                User.org_id == org_id,
                User.id == user_id,
                User.status == AccountStatus.ACTIVE,
                Organisation.status == OrganisationStatus.ACTIVE,
                Session.expires_at > now,
            )
        )
    ).first()
    if row is None:
        return None
    user, organisation, remembered = row
    return as_tenant(organisation), principal_of(user, session_id, remembered=remembered)


async def hold(db: AsyncSession, org_id: UUID, user_id: UUID) -> tuple[User, str | None]:
    """Somebody, and the hash of their password: as they are now, and stay until the transaction ends.

    Raises:
        UserNotFound: there is nobody any more.
    """
    found = (
        await db.execute(
            select(User, Credential.password_hash)
            .join(Credential, and_(Credential.org_id == org_id, Credential.user_id == User.id))
            .options(selectinload(User.role))
            .where(User.org_id == org_id, User.id == user_id, User.status != AccountStatus.ERASED)
            # Both: of what is not locked, it would show what there was before the wait for the lock.
            .with_for_update(read=True)
            .execution_options(populate_existing=True)
        )
    ).first()
    if found is None:
        raise UserNotFound
    user, password_hash = found
    return user, password_hash


async def of_user(
    db: AsyncSession, org_id: UUID, user_id: UUID, now: datetime, *, after: UUID | None, limit: int
) -> Sequence[Session]:
    """Where somebody is signed in, the latest first, after the session `after`."""
    statement = (
        select(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.expires_at > now)
        .order_by(Session.id.desc())
        .limit(limit)
    )
    return (await db.scalars(statement if after is None else statement.where(Session.id < after))).all()


async def count(db: AsyncSession, org_id: UUID, user_id: UUID, now: datetime) -> int:
    """In how many places somebody is signed in."""
    statement = (
        select(func.count())
        .select_from(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.expires_at > now)
    )
    return await db.scalar(statement) or 0


def principal_of(user: User, session_id: UUID, *, remembered: bool = False) -> Principal:
    """Make the principal of a user's session; the row was read with `role`."""
    return Principal(
        id=user.id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        role_kind=user.role_kind,
        role_id=user.effective_role_id,
        role_name=user.designation,
        permissions=user.permissions,
        second_factor=user.second_factor,
        session_id=session_id,
        remembered=remembered,
    )
