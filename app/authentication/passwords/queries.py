"""Reads of what is needed to get back into an account."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import Credential, User


async def credential(db: AsyncSession, user: User) -> Credential:
    """What somebody signs in with. Whoever changes it has locked their user.

    Raises:
        UserNotFound: they were erased a moment ago.
    """
    found = await db.scalar(
        select(Credential)
        .where(Credential.org_id == user.org_id, Credential.user_id == user.id)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found
