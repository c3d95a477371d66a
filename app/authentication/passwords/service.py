"""Passwords: forgotten and reset by a link in a mail, or changed by whoever knows the present one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempts import Attempts
from app.access.callers import UserCaller
from app.access.tenant import Tenant
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.creation import hash_new_password
from app.accounts.users.errors import UserNotFound
from app.accounts.users.events import EmailVerified, PasswordChanged
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.authentication.passwords import queries
from app.authentication.sessions import service as sessions
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import BadInput, Conflict, FieldError, Forbidden
from app.core.outbox.events import SYSTEM, Actor, ActorType, record
from app.core.security.access_tokens import InvalidToken
from app.core.security.opaque_tokens import TokenSubject
from app.core.security.passwords import is_same_password, match_hashes
from app.organisations import queries as organisations

# An e-mail's accounts are written to while somebody waits, who must not learn from the time how many there are.
MAX_ACCOUNTS = 10


class WrongPassword(Forbidden):
    """The present password is another one. Not a 401, at which clients sign their user out."""

    code = "wrong_password"
    title = "The password is wrong."


class NoPassword(Conflict):
    """Who signs in elsewhere has no password that could be changed."""

    code = "no_password"
    title = "This account has no password yet: set one with POST /auth/password/forgot."


class SamePassword(BadInput):
    """The new password is the present one."""

    code = "same_password"
    title = "This is the present password: choose another."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("newPassword", self.title)])


# --- forgotten -------------------------------------------------------------------------------------------------------


async def forget_password(database: Database, attempts: Attempts, email: str, domain: str | None) -> None:
    """Mail a link that resets the password to the active accounts of an e-mail; those without a password get one too.

    Args:
        domain: of the organisation, where only its account is meant.
    """
    accounts = AccountsOf(email, domain, lambda user: user.status == AccountStatus.ACTIVE)
    await send_links(database, attempts, accounts, LinkPurpose.RESET_PASSWORD)


@dataclass(frozen=True)
class AccountsOf:
    """Accounts of an e-mail: in the organisation of a domain, or in any, and of whom this holds."""

    email: str
    domain: str | None
    are: Callable[[User], bool]


async def send_links(database: Database, attempts: Attempts, wanted: AccountsOf, purpose: LinkPurpose) -> None:
    """Mail links to these accounts, of the `MAX_ACCOUNTS` in the oldest organisations; to none of them too often.

    Each is in its organisation's own transaction.
    """
    email = wanted.email
    async with database.session(None) as db:
        accounts = await users.list_credentials(db, email, wanted.domain, limit=MAX_ACCOUNTS)
    for account in accounts:
        if not await attempts.count_account_mail(purpose, account.user_id):
            continue
        async with database.session(account.org_id) as db:
            try:
                # Locked, or somebody's erasure might leave the link behind, with their e-mail in it.
                user = await users.lock_user(db, account.org_id, account.user_id)
            except UserNotFound:
                continue
            if user.email == email and wanted.are(user):
                at = (await organisations.get_tenant(db, account.org_id)).now()
                links.send(db, account.org_id, user.id, email, purpose, at=at, actor=SYSTEM)


async def reset_password(database: Database, secret_key: str, token: str, new_password: str) -> User:
    """Set another password with a link's token, and sign its user out everywhere.

    Whoever has the link reads the mails of its address, so that is verified with it. Nothing else is proved: a second
    factor stays what it is. The link is used up only by a password that will do.

    Raises:
        LinkExpired
        WeakPassword
        Busy
    """
    named = links.parse_token(secret_key, token)
    async with database.session(named.org_id) as db:
        link = await links.find(db, named, LinkPurpose.RESET_PASSWORD)
        tenant = await links.get_tenant(db, link)
        try:
            user = await users.get_user(db, link.org_id, link.user_id)
        except UserNotFound:
            raise LinkExpired from None
        _check_may_reset(user, link)
    password_hash = await _hash_chosen(secret_key, tenant, user, new_password)
    async with database.session(named.org_id) as db:
        return await _reset(db, named, link, tenant, password_hash)


async def _reset(db: AsyncSession, named: TokenSubject, link: Link, tenant: Tenant, password_hash: str) -> User:
    user, credential = await lock_owner(db, link)
    await links.use(db, named, LinkPurpose.RESET_PASSWORD)
    _check_may_reset(user, link)
    await _set_password(db, user, credential, password_hash)
    await sessions.end_sessions(db, user.org_id, user.id)
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    if user.email_verified_at is None:
        user.email_verified_at = real_now()
        record(db, EmailVerified(at=at, actor=actor, user_id=user.id))
    record(db, PasswordChanged(at=at, actor=actor, user_id=user.id))
    return user


def _check_may_reset(user: User, link: Link) -> None:
    if user.status != AccountStatus.ACTIVE or user.email != link.email:
        raise LinkExpired


async def lock_owner(db: AsyncSession, link: Link) -> tuple[User, Credential]:
    """The account that a link is for, locked. Done before the link is used, since users are locked first.

    Raises:
        LinkExpired: it is gone.
    """
    try:
        user = await users.lock_user(db, link.org_id, link.user_id)
        return user, await queries.credential(db, user)
    except UserNotFound:
        raise LinkExpired from None


# --- changed ---------------------------------------------------------------------------------------------------------


async def change_password(database: Database, secret_key: str, caller: UserCaller, current: str, new: str) -> None:
    """Set another password in place of the present one, and sign its user out everywhere else.

    Raises:
        NoPassword
        WrongPassword
        SamePassword, WeakPassword
        Busy
        InvalidToken: as `lock_own`.
    """
    user, credential = await read_own(database, caller)
    if credential.password_hash is None:
        raise NoPassword
    if not await match_hashes(current, [credential.password_hash]):
        raise WrongPassword
    if is_same_password(current, new):
        raise SamePassword
    password_hash = await _hash_chosen(secret_key, caller.tenant, user, new)
    async with database.session(caller.org_id) as db:
        user, present = await lock_own(db, caller, credential)
        await _set_password(db, user, present, password_hash)
        await sessions.end_sessions(db, caller.org_id, user.id, but=caller.user.session_id)
        record(db, PasswordChanged(at=caller.tenant.now(), actor=caller.actor, user_id=user.id))


async def read_own(database: Database, caller: UserCaller) -> tuple[User, Credential]:
    """The signed-in user, and what they sign in with; nothing stays locked.

    Raises:
        InvalidToken: gone within the seconds for which a token's user is remembered.
    """
    async with database.session(caller.org_id) as db:
        user = await users.get_caller(db, caller)
        try:
            return user, await queries.credential(db, user)
        except UserNotFound:
            raise InvalidToken from None


async def lock_own(db: AsyncSession, caller: UserCaller, compared: Credential) -> tuple[User, Credential]:
    """The same, locked, once the password has been compared with what they then signed in with.

    Raises:
        WrongPassword: it has changed since, so that what was right is so no more.
        InvalidToken: gone, or not active any more.
    """
    user = await users.lock_caller(db, caller)
    present = await queries.credential(db, user)
    if (present.email, present.password_hash) != (compared.email, compared.password_hash):
        raise WrongPassword
    return user, present


# --- both ------------------------------------------------------------------------------------------------------------


async def _hash_chosen(secret_key: str, tenant: Tenant, user: User, password: str) -> str:
    names = (user.first_name, user.last_name)
    return await hash_new_password(secret_key, tenant, password, *names, email=user.email, field="newPassword")


async def _set_password(db: AsyncSession, user: User, credential: Credential, password_hash: str) -> None:
    """Set it, and cancel the links that would replace it: one that changes the e-mail brings the hash of an old one."""
    credential.password_hash = password_hash
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.CHANGE_EMAIL)
