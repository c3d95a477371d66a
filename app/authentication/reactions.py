"""What follows from events of users: sessions end, and the sign-in data of erased users is deleted.

Each is a reaction in the transaction of the event, so accounts do not depend on authentication.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import UserErased, UserRoleChanged, UserSuspended
from app.authentication.second_factor.events import SecondFactorDisabled
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.sessions import service as sessions
from app.authentication.sessions.models import Session
from app.authentication.social.models import ExternalIdentity

# The tables of this domain that hold data of one user.
PERSONAL_TABLES = (Session, SecondFactor, RecoveryCode, ExternalIdentity)


async def end_sessions(db: AsyncSession, org_id: UUID, event: UserSuspended) -> None:
    """Sign a suspended user out everywhere."""
    await sessions.end_sessions(db, org_id, event.user_id)


async def end_sessions_after_demotion(db: AsyncSession, org_id: UUID, event: UserRoleChanged) -> None:
    """End all sessions of a user whose new role is of a lower kind."""
    if event.from_role.outranks(event.to_role):
        await sessions.end_sessions(db, org_id, event.user_id)


async def end_sessions_after_reset(db: AsyncSession, org_id: UUID, event: SecondFactorDisabled) -> None:
    """End all sessions of a user if an admin reset their second factor. Users who disable their own stay signed in."""
    if event.actor.id != event.user_id:
        await sessions.end_sessions(db, org_id, event.user_id)


async def delete_sign_in_data(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Delete an erased user's sessions, second factor and links to accounts at providers."""
    for table in PERSONAL_TABLES:
        await db.execute(delete(table).where(table.org_id == org_id, table.user_id == event.user_id))
