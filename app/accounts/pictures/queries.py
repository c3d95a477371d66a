"""Reads of pictures."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller
from app.access.permissions import RoleKind
from app.accounts.pictures.models import Picture
from app.accounts.users.models import User
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import AccountStatus
from app.core.errors import NotFound


class PictureNotFound(NotFound):
    """They have none."""

    code = "picture_not_found"
    title = "This user has no picture."


async def set_at(db: AsyncSession, caller: Caller, user_id: UUID) -> datetime:
    """When somebody set their picture whom the caller may see: customers see themselves, and who answers them.

    Raises:
        UserNotFound, PictureNotFound
    """
    which = [User.org_id == caller.org_id, User.id == user_id, User.status != AccountStatus.ERASED]
    if caller.somebody.sees_own_only:
        which.append(or_(User.id == caller.somebody.id, User.role != RoleKind.CUSTOMER))
    row = (await db.execute(select(User.picture_at).where(*which))).first()
    if row is None:
        raise UserNotFound
    if row.picture_at is None:
        raise PictureNotFound
    set_at: datetime = row.picture_at
    return set_at


async def image(db: AsyncSession, org_id: UUID, user_id: UUID) -> bytes:
    """The picture, as WebP.

    Raises:
        PictureNotFound
    """
    found = await db.scalar(select(Picture.image).where(Picture.org_id == org_id, Picture.user_id == user_id))
    if found is None:
        raise PictureNotFound
    return found
