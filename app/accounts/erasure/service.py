"""Erasing somebody: what is personal about them is deleted, and their row says only that there was somebody."""

from __future__ import annotations

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.pictures.models import Picture
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links.models import Link
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.rules import AccountStatus, erased_email
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.authentication.sessions.models import Session
from app.authentication.social.models import ExternalIdentity

# What goes with a user.
BELONGINGS = (Credential, UserWord, Link, Session, SecondFactor, RecoveryCode, ExternalIdentity, Picture)


async def erase(db: AsyncSession, user: User) -> None:
    """Delete what is theirs, and clear their row, which is locked."""
    for what in BELONGINGS:
        await db.execute(delete(what).where(what.org_id == user.org_id, what.user_id == user.id))
    user.status = AccountStatus.ERASED
    user.first_name, user.last_name, user.email = "Erased", "user", erased_email(user.id)
    user.email_verified_at = user.picture_at = None
    user.bio = user.timezone = user.locale = user.status_reason = None
    user.muted = []
    user.available = user.second_factor = False
    user.assign_role(BUILT_IN[user.role])
    user.set_permission_overrides(frozenset(), frozenset())
