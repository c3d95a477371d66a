"""Queries of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import contains_eager

from app.access.callers import Principal
from app.access.tenant import Tenant
from app.accounts.roles.models import Role
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.authentication.sessions.models import Session
from app.authentication.sessions.rules import session_lifetime
from app.organisations.models import Organisation, OrganisationStatus
from app.organisations.queries import as_tenant


async def find_principal(
    db: AsyncSession, org_id: UUID, user_id: UUID, session_id: UUID, now: datetime
) -> tuple[Tenant, Principal] | None:
    """Find an active user of an active organisation by a session that has not ended."""
    row = (
        await db.execute(
            select(User, Organisation, Session.remembered)
            .join(Organisation, Organisation.id == User.org_id)
            .join(Session, and_(Session.org_id == org_id, Session.user_id == User.id, Session.id == session_id))
            .outerjoin(User.role.and_(Role.org_id == org_id))
            .options(contains_eager(User.role))
            .where(
                User.org_id == org_id,
                User.id == user_id,
                User.status == AccountStatus.ACTIVE,
                Organisation.status == OrganisationStatus.ACTIVE,
                Session.not_expired_condition(now),
            )
        )
    ).first()
    if row is None:
        return None
    user, organisation, remembered = row
    return as_tenant(organisation), principal_of(user, session_id, remembered=remembered)


async def list_page(
    db: AsyncSession, org_id: UUID, user_id: UUID, now: datetime, *, after: UUID | None, limit: int
) -> Sequence[Session]:
    """List the user's sessions that began before the session `after` and have not ended, newest first."""
    statement = (
        select(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.not_expired_condition(now))
        .order_by(Session.id.desc())
        .limit(limit)
    )
    return (await db.scalars(statement if after is None else statement.where(Session.id < after))).all()


async def count(db: AsyncSession, org_id: UUID, user_id: UUID, now: datetime) -> int:
    """Count the user's sessions that have not ended."""
    statement = (
        select(func.count())
        .select_from(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.not_expired_condition(now))
    )
    return await db.scalar(statement) or 0


def principal_of(user: User, session_id: UUID, *, remembered: bool = False) -> Principal:
    """Make the principal of a user's session; the `role` of the row must be loaded."""
    return Principal(
        id=user.id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        role_kind=user.role_kind,
        role_id=user.effective_role_id,
        role_name=user.role_name,
        permissions=user.permissions,
        second_factor=user.second_factor,
        session_id=session_id,
        session_lifetime=session_lifetime(remembered=remembered),
    )
