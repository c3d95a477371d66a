"""Reads of an organisation's users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.access.permissions import RoleKind
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users.models import User, UserWord
from app.accounts.users.rights import prefix_upper_bound
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Which users. Empty filters hold for all; `words` is `None` where nobody is looked for by name.

    `available` are those whom new tickets may be assigned to now.
    """

    roles: Sequence[str] = ()
    statuses: Sequence[str] = ()
    available: bool | None = None
    words: Sequence[str] | None = None

    def conditions(self, org_id: UUID) -> list[ColumnElement[bool]]:
        """What a row must meet."""
        conditions = [User.org_id == org_id]
        conditions.append(User.status.in_(self.statuses) if self.statuses else User.status != AccountStatus.ERASED)
        if self.roles:
            conditions.append(User.role.in_(self.roles))
        if self.available is not None:
            conditions.append(User.takes_tickets == self.available)
        for word in self.words or ():
            # A range, which row level security lets reach the index; LIKE would read everybody's words.
            having = (UserWord.org_id == org_id, UserWord.word >= word, UserWord.word < prefix_upper_bound(word))
            conditions.append(User.id.in_(select(UserWord.user_id).where(*having)))
        return conditions

    @property
    def is_empty(self) -> bool:
        """Whether nobody can match: what was looked for holds no word."""
        return self.words is not None and not self.words


async def page(db: AsyncSession, org_id: UUID, wanted: Listing, after: UUID | None, limit: int) -> Sequence[User]:
    """The users who follow the one with the id `after`, newest first, with their roles."""
    if wanted.is_empty:
        return []
    statement = (
        select(User)
        .options(selectinload(User.custom_role))
        .where(*wanted.conditions(org_id))
        .order_by(User.id.desc())
        .limit(limit)
    )
    return (await db.scalars(statement if after is None else statement.where(User.id < after))).all()


async def total(db: AsyncSession, org_id: UUID, wanted: Listing) -> int:
    """How many match."""
    if wanted.is_empty:
        return 0
    return await db.scalar(select(func.count()).select_from(User).where(*wanted.conditions(org_id))) or 0


async def invitation_expires_at(db: AsyncSession, user: User) -> datetime | None:
    """Until when somebody can accept an invitation with the link that was mailed last; `None` if it is too late."""
    found: datetime | None = await db.scalar(
        select(func.max(Link.expires_at)).where(
            Link.org_id == user.org_id,
            Link.user_id == user.id,
            Link.purpose == LinkPurpose.INVITATION,
            Link.expires_at > real_now(),
        )
    )
    return found


async def lock_with_admins(db: AsyncSession, org_id: UUID, *ids: UUID) -> Mapping[UUID, User]:
    """These users, as far as there are, and all who may be full admins: locked in the order of their ids.

    Whoever decides whether an admin may go holds all of them, so that of two who go at once, the second sees the first.
    """
    found = await db.scalars(
        select(User)
        .options(selectinload(User.custom_role))
        .where(
            User.org_id == org_id,
            User.status != AccountStatus.ERASED,
            or_(
                User.id.in_(ids),
                and_(User.role == RoleKind.ADMIN, User.status == AccountStatus.ACTIVE, User.role_id.is_(None)),
            ),
        )
        .order_by(User.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {user.id: user for user in found}
