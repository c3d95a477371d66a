"""Reads of the users that tickets can be assigned to."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.tickets.assignment.statements import available_users_sql


async def list_available_users(db: AsyncSession, org_id: UUID) -> Sequence[UUID]:
    """Return the users that new tickets go to, in the order of the rotation."""
    return await db.scalar(text(available_users_sql(":org_id")).bindparams(org_id=org_id)) or []


async def lock_assignee(db: AsyncSession, org_id: UUID, user_id: UUID) -> User | None:
    """Lock a user who may be assigned tickets, so that they cannot be suspended before this transaction ends.

    Returns `None` if the user may not be assigned any. Call this before locking the ticket: the reactions that unassign
    the tickets of a user lock in this order.
    """
    user = await db.scalar(select(User).where(User.org_id == org_id, User.id == user_id).with_for_update(read=True))
    return user if user is not None and user.is_assignable else None
