"""Sign a user in: compare the password, choose the account, check the second factor, and open a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.user_permissions import RoleKind
from app.accounts.users import queries as users
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor.codes import SubmittedCode, use_code
from app.authentication.sessions import service as sessions
from app.authentication.sessions.service import ClientInfo, SessionTokens
from app.authentication.sign_in.errors import (
    AccountPending,
    AccountRejected,
    AccountSuspended,
    OrgRequired,
    WrongEmailOrPassword,
    WrongRole,
)
from app.authentication.sign_in.queries import LockedAccount, lock_for_sign_in
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import Forbidden
from app.core.security.password_hashing import match_hashes

# The maximum number of matching accounts to choose from. If more accounts match, `org` is required.
MAX_MATCHING_ACCOUNTS = 10

INACTIVE_ERRORS: Mapping[AccountStatus, type[Forbidden]] = {
    AccountStatus.PENDING: AccountPending,
    AccountStatus.REJECTED: AccountRejected,
    AccountStatus.SUSPENDED: AccountSuspended,
}


@dataclass(frozen=True)
class Account:
    """An account that an e-mail and a password match, with the hash that the password was compared with."""

    user: User
    password_hash: str


@dataclass(frozen=True)
class MatchResult:
    """The credentials of an e-mail that a password matches: (org_id, user_id, password_hash).

    `compared_count` counts all accounts of the e-mail, including those that the password does not match.
    """

    credentials: Sequence[tuple[UUID, UUID, str]]
    compared_count: int


@dataclass(frozen=True)
class SignedIn:
    """A user who has signed in, and the tokens of the new session."""

    user: User
    tokens: SessionTokens


async def match_accounts(database: Database, email: str, password: str, domain: str | None) -> MatchResult:
    """Compare a password with the accounts of an e-mail, in the same time whether or not there are any.

    No transaction is open during the comparisons, each of which takes a tenth of a second.

    Args:
        domain: The domain of the organisation; `None` for all organisations.
    """
    async with database.session(None) as db:
        accounts = await users.list_credentials(db, email, domain)
    matching = await match_hashes(password, [account.password_hash for account in accounts if account.password_hash])
    return MatchResult(
        [(one.org_id, one.user_id, one.password_hash) for one in accounts if one.password_hash in matching],
        compared_count=len(accounts),
    )


async def choose_account(database: Database, matches: MatchResult, role_kind: RoleKind | None) -> Account:
    """Choose the account to sign in to.

    Args:
        role_kind: The required role kind; `None` for any.

    Raises:
        WrongEmailOrPassword: No account matches.
        OrgRequired: Accounts in several organisations match.
        WrongRole
        AccountPending, AccountRejected, AccountSuspended
    """
    if len(matches.credentials) > MAX_MATCHING_ACCOUNTS:
        raise OrgRequired
    found = [
        Account(user, password_hash)
        for org_id, user_id, password_hash in matches.credentials
        if (user := await _find_user(database, org_id, user_id))
    ]
    if not found:
        raise WrongEmailOrPassword
    active = [account for account in found if account.user.status == AccountStatus.ACTIVE]
    if not active:
        raise INACTIVE_ERRORS[found[0].user.status]
    matching_accounts = [account for account in active if role_kind in {None, account.user.role_kind}]
    if not matching_accounts:
        raise WrongRole
    if len(matching_accounts) > 1:
        raise OrgRequired
    return matching_accounts[0]


async def _find_user(database: Database, org_id: UUID, user_id: UUID) -> User | None:
    async with database.session(org_id) as db:
        try:
            user = await users.get_user(db, org_id, user_id)
        except UserNotFound:
            return None
    return user if user.status == AccountStatus.ACTIVE or user.status in INACTIVE_ERRORS else None


async def lock_account(db: AsyncSession, account: Account) -> LockedAccount:
    """Lock an account whose password was compared, and check that it still has that password.

    Raises:
        WrongEmailOrPassword: The password was changed since it was compared, or the user was erased.
    """
    try:
        locked = await lock_for_sign_in(db, account.user.org_id, account.user.id)
    except UserNotFound:
        raise WrongEmailOrPassword from None
    if locked.password_hash != account.password_hash:
        raise WrongEmailOrPassword
    return locked


async def sign_in(
    db: AsyncSession,
    secret_key: str,
    account: LockedAccount,
    client: ClientInfo,
    code: SubmittedCode,
    *,
    max_age: timedelta,
    remember: bool = False,
) -> SignedIn:
    """Open a session for a user who has proved who they are, with a password or at a provider.

    Args:
        max_age: How long the session lasts at most.
        remember: Whether the session lasts 30 days after its last use instead of one.

    Raises:
        AccountPending, AccountRejected, AccountSuspended
        TotpRequired, WrongCodeAtSignIn: The user has a second factor, and the code is missing or wrong.
    """
    user, now = account.user, real_now()
    ensure_active(user)
    if user.second_factor:
        await use_code(db, secret_key, user, code, now)
    tokens = sessions.open_session(db, secret_key, user, client, now, remember=remember, max_age=max_age)
    return SignedIn(user, tokens)


def ensure_active(user: User) -> None:
    """Refuse users whose account is not active.

    Raises:
        AccountPending, AccountRejected, AccountSuspended
    """
    if user.status != AccountStatus.ACTIVE:
        raise INACTIVE_ERRORS[user.status]
