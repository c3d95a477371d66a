"""Queries of users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.interfaces import LoaderOption

from app.access.callers import UserCaller
from app.access.user_permissions import RoleKind
from app.accounts.roles.models import Role
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users.errors import UserNotFound
from app.accounts.users.events import UserSignedUp
from app.accounts.users.filters import UserFilters
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.filters import make_conditions
from app.core.outbox.events import ActorType
from app.core.outbox.models import EventRow
from app.core.security.access_tokens import InvalidToken
from app.organisations.models import Organisation, OrganisationStatus

MAX_CREDENTIALS_READ = 1000


# --- one user --------------------------------------------------------------------------------------------------------


async def get_user(db: AsyncSession, org_id: UUID, user_id: UUID) -> User:
    """Return a user of the organisation with their role.

    Raises:
        UserNotFound
    """
    found = await db.scalar(_select_user(org_id, user_id))
    if found is None:
        raise UserNotFound
    return found


async def lock_user(db: AsyncSession, org_id: UUID, user_id: UUID) -> User:
    """Return a user with their role, locked until the transaction ends.

    Raises:
        UserNotFound
    """
    found = await db.scalar(
        _select_user(org_id, user_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found


def role_loader(org_id: UUID) -> LoaderOption:
    """Return the loader option that also reads each user's role."""
    return selectinload(User.role.and_(Role.org_id == org_id))


def _select_user(org_id: UUID, user_id: UUID) -> Select[User]:
    return (
        select(User)
        .options(role_loader(org_id))
        .where(User.org_id == org_id, User.id == user_id, User.status != AccountStatus.ERASED)
    )


async def get_caller(db: AsyncSession, caller: UserCaller) -> User:
    """Return the caller's own row.

    Raises:
        InvalidToken: the user was erased, but is still in the credential cache.
    """
    try:
        return await get_user(db, caller.org_id, caller.user.id)
    except UserNotFound:
        raise InvalidToken from None


async def lock_caller(db: AsyncSession, caller: UserCaller) -> User:
    """Return the caller's own row, locked until the transaction ends.

    Raises:
        InvalidToken: the user was erased, or is no longer active.
    """
    try:
        user = await lock_user(db, caller.org_id, caller.user.id)
    except UserNotFound:
        raise InvalidToken from None
    if user.status != AccountStatus.ACTIVE:
        raise InvalidToken
    return user


async def find_id_by_email(db: AsyncSession, org_id: UUID, email: str) -> UUID | None:
    """Return the id of the organisation's user with this e-mail, if there is one."""
    found: UUID | None = await db.scalar(
        select(User.id).where(User.org_id == org_id, User.email == email, User.status != AccountStatus.ERASED)
    )
    return found


async def signed_up_on_their_own(db: AsyncSession, user: User) -> bool:
    """Return whether a user asked for the account, which no admin or product made."""
    found = await db.scalar(
        select(EventRow.seq)
        .where(
            EventRow.org_id == user.org_id,
            EventRow.subject_id == user.id,
            EventRow.type == UserSignedUp.type,
            EventRow.actor_type == ActorType.USER,
        )
        .limit(1)
    )
    return found is not None


async def get_invitation_expiry(db: AsyncSession, user: User) -> datetime | None:
    """Return when the last link of a user's invitation expires; `None` if no link can be used."""
    found: datetime | None = await db.scalar(
        select(func.max(Link.expires_at)).where(
            Link.org_id == user.org_id,
            Link.user_id == user.id,
            Link.purpose == LinkPurpose.INVITATION,
            Link.not_expired_condition(real_now()),
        )
    )
    return found


# --- several users ---------------------------------------------------------------------------------------------------


async def lock_with_admins(db: AsyncSession, org_id: UUID, *ids: UUID) -> Mapping[UUID, User]:
    """Lock these users, if they exist, and all users who may be full admins; return them by id.

    They are locked in the order of their ids. Every transaction that may remove a full admin locks all of them: so of
    two concurrent transactions, the second sees the result of the first.
    """
    found = await db.scalars(
        select(User)
        .options(role_loader(org_id))
        .where(
            User.org_id == org_id,
            User.status != AccountStatus.ERASED,
            or_(
                User.id.in_(ids),
                and_(User.role_kind == RoleKind.ADMIN, User.status == AccountStatus.ACTIVE, User.role_id.is_(None)),
            ),
        )
        .order_by(User.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {user.id: user for user in found}


async def list_page(
    db: AsyncSession, org_id: UUID, filters: UserFilters, *, after: UUID | None, limit: int
) -> Sequence[User]:
    """List the users after the user `after`, newest first, with their roles."""
    statement = (
        select(User)
        .options(role_loader(org_id))
        .where(*_conditions(org_id, filters))
        .order_by(User.id.desc())
        .limit(limit)
    )
    return (await db.scalars(statement if after is None else statement.where(User.id < after))).all()


async def count(db: AsyncSession, org_id: UUID, filters: UserFilters) -> int:
    """Count the users that match."""
    return await db.scalar(select(func.count()).select_from(User).where(*_conditions(org_id, filters))) or 0


def _conditions(org_id: UUID, filters: UserFilters) -> list[ColumnElement[bool]]:
    return [User.org_id == org_id, User.status != AccountStatus.ERASED, *make_conditions(org_id, filters)]


# --- signing in ------------------------------------------------------------------------------------------------------


async def list_credentials(
    db: AsyncSession, email: str, domain: str | None, *, limit: int = MAX_CREDENTIALS_READ
) -> Sequence[Row[UUID, UUID, str | None]]:
    """List the accounts with an e-mail as (org_id, user_id, password_hash), oldest organisations first.

    Args:
        domain: the domain of the only organisation to search; required for users with more than `limit` accounts.
    """
    statement = (
        select(Credential.org_id, Credential.user_id, Credential.password_hash)
        .join(Organisation, Organisation.id == Credential.org_id)
        .where(Credential.email == email, Organisation.status == OrganisationStatus.ACTIVE)
        .order_by(Credential.org_id)
        .limit(limit)
    )
    if domain is not None:
        statement = statement.where(Organisation.domain == domain)
    return (await db.execute(statement)).all()
