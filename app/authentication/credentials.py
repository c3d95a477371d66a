"""Read and lock what a user signs in with: the e-mail address and the password hash."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link
from app.accounts.users import queries as users
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import Credential, User
from app.authentication.errors import WrongPassword
from app.core.database.pool import Database
from app.core.security.access_tokens import InvalidToken


async def get_credential(db: AsyncSession, user: User) -> Credential:
    """Return a user's credential. To change it, lock the user first.

    Raises:
        UserNotFound: The user has just been erased.
    """
    credential = await db.scalar(
        select(Credential)
        .where(Credential.org_id == user.org_id, Credential.user_id == user.id)
        .execution_options(populate_existing=True)
    )
    if credential is None:
        raise UserNotFound
    return credential


async def read_caller_with_credential(database: Database, caller: UserCaller) -> tuple[User, Credential]:
    """Return the signed-in user and their credential, in a separate transaction and without locks.

    Raises:
        InvalidToken: The user was erased within the seconds for which access tokens are cached.
    """
    async with database.session(caller.org_id) as db:
        user = await users.get_caller(db, caller)
        try:
            return user, await get_credential(db, user)
        except UserNotFound:
            raise InvalidToken from None


async def lock_caller_with_credential(
    db: AsyncSession, caller: UserCaller, checked_credential: Credential
) -> tuple[User, Credential]:
    """Lock the signed-in user, after a password was compared with `checked_credential`.

    Raises:
        WrongPassword: The credential has changed since, so the comparison no longer counts.
        InvalidToken: The user was erased or is no longer active.
    """
    user = await users.lock_caller(db, caller)
    credential = await get_credential(db, user)
    if (credential.email, credential.password_hash) != (checked_credential.email, checked_credential.password_hash):
        raise WrongPassword
    return user, credential


async def lock_link_owner(db: AsyncSession, link: Link) -> tuple[User, Credential]:
    """Lock the user of a link. Do this before using up the link: users are locked before links.

    Raises:
        LinkExpired: The user was erased.
    """
    try:
        user = await users.lock_user(db, link.org_id, link.user_id)
        return user, await get_credential(db, user)
    except UserNotFound:
        raise LinkExpired from None
