"""Queries of sessions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from app.access.callers import Principal
from app.access.tenant import Tenant
from app.access.user_permissions import Permissions, RoleKind
from app.accounts.roles.models import Role
from app.accounts.users.models import User
from app.authentication.sessions.models import Session
from app.authentication.sessions.rules import session_lifetime
from app.authentication.sessions.statements import FIND_PRINCIPAL, USER_FIELDS
from app.organisations.statements import TENANT_FIELDS

if TYPE_CHECKING:
    from app.core.database.pool import Driver


async def find_principal(
    driver: Driver, org_id: UUID, user_id: UUID, session_id: UUID, now: datetime
) -> tuple[Tenant, Principal] | None:
    """Find an active user of an active organisation by a session that has not ended."""
    row = await driver.fetchrow(FIND_PRINCIPAL, org_id, user_id, session_id, now)
    if row is None:
        return None
    user = User(org_id=org_id, id=user_id, **{name: row[name] for name in USER_FIELDS})
    user.role_kind = RoleKind(user.role_kind)
    if row["role_name"] is not None:
        role = Role(name=row["role_name"], permissions=row["role_permissions"])
        set_committed_value(user, "role", role)
    tenant = Tenant(**{name: row[name] for name in TENANT_FIELDS})
    return tenant, principal_of(
        user, session_id, authenticated_at=row["authenticated_at"], remembered=row["remembered"]
    )


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


def principal_of(user: User, session_id: UUID, *, authenticated_at: datetime, remembered: bool = False) -> Principal:
    """Make the principal of a user's session; the `role` of the row must be loaded."""
    return Principal(
        id=user.id,
        email=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        role_kind=user.role_kind,
        role_id=user.effective_role_id,
        role_name=user.role_name,
        permissions=_intern(user.permissions),
        second_factor=user.second_factor,
        session_id=session_id,
        session_lifetime=session_lifetime(remembered=remembered),
        authenticated_at=authenticated_at,
    )


@lru_cache(maxsize=1000)
def _intern(permissions: Permissions) -> Permissions:
    """Return one object for all equal permissions: most users have those of a role, and many are cached."""
    return permissions
