"""Queries of pictures."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.user_permissions import RoleKind
from app.accounts.pictures.errors import PictureNotFound
from app.accounts.pictures.models import Picture
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus


async def get_picture_time(db: AsyncSession, caller: UserCaller, user_id: UUID) -> datetime:
    """Return when the user's picture was set. Customers can see themselves, admins and engineers.

    Raises:
        UserNotFound: Also if the caller cannot see the user.
        PictureNotFound
    """
    conditions = [User.org_id == caller.org_id, User.id == user_id, User.status != AccountStatus.ERASED]
    if caller.user.is_limited_to_own_tickets:
        conditions.append(or_(User.id == caller.user.id, User.role_kind != RoleKind.CUSTOMER))
    row = (await db.execute(select(User.picture_at).where(*conditions))).first()
    if row is None:
        raise UserNotFound
    if row.picture_at is None:
        raise PictureNotFound
    picture_at: datetime = row.picture_at
    return picture_at


async def get_image(db: AsyncSession, org_id: UUID, user_id: UUID) -> bytes:
    """Return the user's picture as WebP.

    Raises:
        PictureNotFound
    """
    found = await db.scalar(select(Picture.image).where(Picture.org_id == org_id, Picture.user_id == user_id))
    if found is None:
        raise PictureNotFound
    return found
