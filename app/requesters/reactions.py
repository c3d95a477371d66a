"""Reactions that keep requesters in step with their accounts."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.events import EmailVerified, UserApproved, UserErased, UserReactivated, UserUpdated
from app.accounts.users.models import User
from app.requesters import service

_NAME_FIELDS = frozenset({"firstName", "lastName"})


async def follow_account(db: AsyncSession, org_id: UUID, event: EmailVerified | UserApproved | UserReactivated) -> None:
    """Link the requester with a user's address, once it is verified and the user can sign in."""
    await service.set_account(db, org_id, event.user_id)


async def follow_name(db: AsyncSession, org_id: UUID, event: UserUpdated) -> None:
    """Give the requesters of a user the user's new name."""
    if _NAME_FIELDS.isdisjoint(event.fields):
        return
    await db.flush()
    user = (
        await db.execute(select(User.first_name, User.last_name).where(User.org_id == org_id, User.id == event.user_id))
    ).one()
    await service.rename(db, org_id, event.user_id, f"{user.first_name} {user.last_name}".strip())


async def erase_requesters(db: AsyncSession, org_id: UUID, event: UserErased) -> None:
    """Erase the requesters of an erased user, and the one with their address if they had proved it."""
    proved_email = event.email.value if event.email_was_verified.value else None
    await service.erase_account(db, org_id, event.user_id, proved_email, event.at)
