"""Reads of users."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.core.errors import NotFound
from app.organisations.models import Organisation, OrganisationStatus

MAX_ACCOUNTS_PER_EMAIL = 1000


class UserNotFound(NotFound):
    """Nobody of the caller's organisation has this id."""

    code = "user_not_found"
    title = "There is no such user."


async def accounts(
    db: AsyncSession, email: str, domain: str | None, *, limit: int = MAX_ACCOUNTS_PER_EMAIL
) -> Sequence[Row[UUID, UUID, str | None]]:
    """The accounts that an e-mail may sign in to, in the oldest organisations: (org_id, user_id, password_hash).

    Whoever has more than `limit` names the domain.
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


async def user(db: AsyncSession, org_id: UUID, user_id: UUID) -> User:
    """Somebody of the organisation, with their role.

    Raises:
        UserNotFound: there is nobody, or nobody any more.
    """
    found = await db.scalar(
        select(User)
        .options(selectinload(User.custom_role))
        .where(User.org_id == org_id, User.id == user_id, User.status != AccountStatus.ERASED)
    )
    if found is None:
        raise UserNotFound
    return found


async def lock(db: AsyncSession, org_id: UUID, user_id: UUID) -> User:
    """The same, locked until the transaction ends.

    Raises:
        UserNotFound
    """
    found = await db.scalar(
        select(User)
        .options(selectinload(User.custom_role))
        .where(User.org_id == org_id, User.id == user_id, User.status != AccountStatus.ERASED)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise UserNotFound
    return found


async def owner_of(db: AsyncSession, org_id: UUID, email: str) -> UUID | None:
    """Who of the organisation has this e-mail, if anybody."""
    found: UUID | None = await db.scalar(
        select(User.id).where(User.org_id == org_id, User.email == email, User.status != AccountStatus.ERASED)
    )
    return found
