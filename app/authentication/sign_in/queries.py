"""Queries of sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import Credential, User
from app.accounts.users.queries import role_loader
from app.accounts.users.rules import AccountStatus


@dataclass(frozen=True)
class LockedAccount:
    """A user and the hash of their password, neither of which changes before the transaction ends."""

    user: User
    password_hash: str | None


async def lock_for_sign_in(db: AsyncSession, org_id: UUID, user_id: UUID) -> LockedAccount:
    """Take a shared lock on a user and their credential: other sign-ins proceed, changes wait.

    Raises:
        UserNotFound: The user was erased.
    """
    row = (
        await db.execute(
            select(User, Credential.password_hash)
            .join(Credential, and_(Credential.org_id == org_id, Credential.user_id == User.id))
            .options(role_loader(org_id))
            .where(User.org_id == org_id, User.id == user_id, User.status != AccountStatus.ERASED)
            # Lock both rows. An unlocked row would be read as it was before the statement waited for the lock.
            .with_for_update(read=True)
            .execution_options(populate_existing=True)
        )
    ).first()
    if row is None:
        raise UserNotFound
    user, password_hash = row
    return LockedAccount(user, password_hash)
