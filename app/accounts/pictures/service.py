"""Set and remove the caller's picture."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.pictures.models import Picture
from app.accounts.users import queries
from app.accounts.users.events import UserUpdated
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.outbox.events import record


async def set_picture(db: AsyncSession, caller: UserCaller, image: bytes) -> datetime:
    """Store a WebP image as the caller's picture; return the time from which it is valid."""
    user = await queries.lock_caller(db, caller)
    await _remove(db, user)
    db.add(Picture(org_id=user.org_id, user_id=user.id, image=image))
    user.picture_at = now = real_now()
    _record(db, caller)
    return now


async def remove_picture(db: AsyncSession, caller: UserCaller) -> None:
    """Remove the caller's picture; does nothing if there is none."""
    user = await queries.lock_caller(db, caller)
    if user.picture_at is not None:
        await _remove(db, user)
        user.picture_at = None
        _record(db, caller)


async def _remove(db: AsyncSession, user: User) -> None:
    await db.execute(delete(Picture).where(Picture.org_id == user.org_id, Picture.user_id == user.id))


def _record(db: AsyncSession, caller: UserCaller) -> None:
    record(db, UserUpdated(at=caller.now, actor=caller.actor, user_id=caller.user.id, fields=["picture"]))
