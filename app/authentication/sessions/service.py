"""Signing in, and the sessions that follow from it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import RoleKind
from app.accounts.users import queries as users
from app.accounts.users.errors import UserNotFound
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor import service as second_factor
from app.authentication.second_factor.service import Proof
from app.authentication.sessions import queries
from app.authentication.sessions.events import SessionRevoked
from app.authentication.sessions.models import Session
from app.authentication.sessions.queries import SessionNotFound
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import Conflict, Forbidden, Unauthenticated
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, record
from app.core.security import opaque_tokens as tokens
from app.core.security.access_tokens import issue_access_token
from app.core.security.passwords import match_hashes
from app.menus import queries as menus
from app.menus.rules import MenuNode, Viewer

LIFETIME = timedelta(days=1)
REMEMBERED_LIFETIME = timedelta(days=30)
# An answer may be lost on its way: for so long, the same refresh token gets the same successor again.
RETRY_WITHIN = timedelta(seconds=10)
MAX_TO_CHOOSE_FROM = 10  # accounts with one e-mail and one password, without the organisation being named
MAX_DEVICE_LENGTH = 200


class WrongEmailOrPassword(Unauthenticated):
    """Which of the two is nobody's business."""

    code = "wrong_email_or_password"
    title = "The e-mail or the password is wrong."


class OrgRequired(Conflict):
    """E-mail and password fit more than one organisation."""

    code = "org_required"
    title = "This fits more than one organisation: say which, with `org`."


class InvalidRefreshToken(Unauthenticated):
    """It is not one of ours, its session has ended, or it was used before."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid, has expired, or was used before: sign in again."


class WrongRole(Forbidden):
    """This door is for users of another role."""

    code = "wrong_role"
    title = "This account has another role: sign in where users of that role do, or with POST /auth/signin."


class AccountPending(Forbidden):
    """Nobody has approved the sign-up yet."""

    code = "account_pending"
    title = "An admin of your organisation has yet to approve this account: you will get a mail."


class AccountRejected(Forbidden):
    """An admin rejected the sign-up."""

    code = "account_rejected"
    title = "An admin of your organisation has rejected this account: ask them, if you think that is a mistake."


class AccountSuspended(Forbidden):
    """An admin suspended the account."""

    code = "account_suspended"
    title = "This account is suspended: an admin of your organisation can lift that."


NOT_ACTIVE: dict[str, type[Forbidden]] = {
    AccountStatus.PENDING: AccountPending,
    AccountStatus.REJECTED: AccountRejected,
    AccountStatus.SUSPENDED: AccountSuspended,
}


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where somebody signs in: their device as it calls itself, their address, and for how long."""

    device: str
    address: str
    remembered: bool = False


@dataclass(frozen=True)
class Refreshed:
    """A session that goes on, and its next tokens."""

    access_token: str
    refresh_token: str
    session: Session


@dataclass(frozen=True)
class SignedIn(Refreshed):
    """A session that has just begun, with its first tokens; whose it is, and the menu that they see."""

    user: User
    menu: tuple[MenuNode, ...]


@dataclass(frozen=True)
class Account:
    """Somebody whom an e-mail and a password belong to."""

    user: User
    password_hash: str


@dataclass(frozen=True)
class Fitting:
    """Those accounts of an e-mail that a password fits: organisation, user, hash. `out_of` counts the others too."""

    accounts: Sequence[tuple[UUID, UUID, str]]
    out_of: int


async def fitting_accounts(database: Database, email: str, password: str, domain: str | None) -> Fitting:
    """Compare a password with those of an e-mail's accounts, in the same time whether or not there are any.

    No transaction is open meanwhile: each comparison takes a tenth of a second.
    """
    async with database.session(None) as db:
        accounts = await users.list_credentials(db, email, domain)
    fit = await match_hashes(password, [account.password_hash for account in accounts if account.password_hash])
    return Fitting(
        [(one.org_id, one.user_id, one.password_hash) for one in accounts if one.password_hash in fit], len(accounts)
    )


async def choose_account(database: Database, fit: Fitting, role: RoleKind | None) -> Account:
    """The one of these accounts that somebody signs in to.

    Args:
        role: what they must be, where the door is for users of one role only.

    Raises:
        WrongEmailOrPassword: there is none.
        OrgRequired: they are of more than one organisation.
        WrongRole
        AccountPending, AccountRejected, AccountSuspended: the password is right, and yet.
    """
    if len(fit.accounts) > MAX_TO_CHOOSE_FROM:
        raise OrgRequired
    found = [
        Account(user, password_hash)
        for org_id, user_id, password_hash in fit.accounts
        if (user := await _user(database, org_id, user_id))
    ]
    if not found:
        raise WrongEmailOrPassword
    active = [account for account in found if account.user.status == AccountStatus.ACTIVE]
    if not active:
        check_active(found[0].user)
    of_role = [account for account in active if role in {None, account.user.role_kind}]
    if not of_role:
        raise WrongRole
    if len(of_role) > 1:
        raise OrgRequired
    return of_role[0]


async def _user(database: Database, org_id: UUID, user_id: UUID) -> User | None:
    async with database.session(org_id) as db:
        try:
            user = await users.get_user(db, org_id, user_id)
        except UserNotFound:
            return None
    return user if user.status == AccountStatus.ACTIVE or user.status in NOT_ACTIVE else None


async def sign_in_to(db: AsyncSession, secret_key: str, account: Account, where: Where, proof: Proof) -> SignedIn:
    """Open a session for somebody whose password was right a moment ago, and still is.

    Raises:
        WrongEmailOrPassword: it was changed while it was compared, which ended all sessions but this; or they are gone.
        AccountSuspended
        TotpRequired, WrongCode: see `second_factor.service.prove`.
    """
    try:
        user, password_hash = await queries.hold(db, account.user.org_id, account.user.id)
    except UserNotFound:
        raise WrongEmailOrPassword from None
    if password_hash != account.password_hash:
        raise WrongEmailOrPassword
    return await _sign_in(db, secret_key, user, where, proof)


async def sign_in(db: AsyncSession, secret_key: str, user: User, where: Where, proof: Proof) -> SignedIn:
    """Open a session for somebody who showed something else than a password, if they still may have one.

    Raises:
        UserNotFound: they are gone.
        AccountPending, AccountRejected, AccountSuspended
        TotpRequired, WrongCode: see `second_factor.service.prove`.
    """
    user, _ = await queries.hold(db, user.org_id, user.id)
    return await _sign_in(db, secret_key, user, where, proof)


async def _sign_in(db: AsyncSession, secret_key: str, user: User, where: Where, proof: Proof) -> SignedIn:
    check_active(user)
    now = real_now()
    if user.second_factor:
        await second_factor.prove(db, secret_key, user, proof, now)
    session, refresh_token = open_session(secret_key, user, where, now)
    db.add(session)
    menu = await menus.visible_menu(db, user.org_id, Viewer(user.id, user.effective_role_id, user.permissions))
    access_token = access_token_of(secret_key, session, user.role_kind, now)
    return SignedIn(access_token, refresh_token, session, user, menu)


def check_active(user: User) -> None:
    """Refuse who may not sign in.

    Raises:
        AccountPending, AccountRejected, AccountSuspended
    """
    if user.status != AccountStatus.ACTIVE:
        raise NOT_ACTIVE[user.status]


def open_session(secret_key: str, user: User, where: Where, now: datetime) -> tuple[Session, str]:
    """A new session, and its first refresh token."""
    session_id = new_id()
    refresh_token = tokens.new_refresh_token(secret_key, user.org_id, session_id)
    session = Session(
        org_id=user.org_id,
        id=session_id,
        user_id=user.id,
        refresh_hash=tokens.token_hash(refresh_token),
        remembered=where.remembered,
        device=where.device[:MAX_DEVICE_LENGTH],
        address=where.address,
        created_at=now,
        last_used_at=now,
        expires_at=now + lifetime(remembered=where.remembered),
    )
    return session, refresh_token


def lifetime(*, remembered: bool) -> timedelta:
    """How long a session lasts from its last use."""
    return REMEMBERED_LIFETIME if remembered else LIFETIME


def access_token_of(secret_key: str, session: Session, role: str, now: datetime) -> str:
    """An access token of a session, whose user has this role."""
    return issue_access_token(
        secret_key, user_id=session.user_id, org_id=session.org_id, session_id=session.id, role=role, now=now
    )


async def refresh(database: Database, secret_key: str, token: str, where: Where) -> Refreshed:
    """Exchange a refresh token for the next one and an access token.

    Whoever uses one a second time may have stolen it, or it was stolen from them: their session ends.

    Raises:
        InvalidRefreshToken
    """
    try:
        named = tokens.read_refresh_token(secret_key, token)
    except ValueError:
        raise InvalidRefreshToken from None
    async with database.session(named.org_id) as db:
        refreshed = await _rotate(db, secret_key, named, token, where)
    if refreshed is None:  # only now, so that the end of the session is committed
        raise InvalidRefreshToken
    return refreshed


async def _rotate(
    db: AsyncSession, secret_key: str, named: tokens.TokenSubject, token: str, where: Where
) -> Refreshed | None:
    now, org_id = real_now(), named.org_id
    session = await db.scalar(
        select(Session)
        .where(Session.org_id == org_id, Session.id == named.id, Session.expires_at > now)
        .with_for_update(key_share=True)
    )
    if session is None or not (found := await queries.find_principal(db, org_id, session.user_id, session.id, now)):
        return None
    tenant, user = found
    hashed, successor = tokens.token_hash(token), tokens.next_refresh_token(secret_key, token)
    if secrets.compare_digest(hashed, session.refresh_hash):
        session.previous_hash, session.refresh_hash = hashed, tokens.token_hash(successor)
        session.rotated_at = session.last_used_at = now
        session.expires_at = now + lifetime(remembered=session.remembered)
        session.device, session.address = where.device[:MAX_DEVICE_LENGTH], where.address
    elif not _is_retry(session, hashed, now):
        await db.delete(session)
        record(db, SessionRevoked(at=tenant.now(), actor=SYSTEM, user_id=user.id, session_id=session.id))
        return None
    return Refreshed(access_token_of(secret_key, session, user.role_kind, now), successor, session)


def _is_retry(session: Session, hashed: bytes, now: datetime) -> bool:
    """Whether this is the token that was used last, a moment ago."""
    return (
        session.previous_hash is not None
        and session.rotated_at is not None
        and secrets.compare_digest(hashed, session.previous_hash)
        and now - session.rotated_at <= RETRY_WITHIN
    )


async def end_session(db: AsyncSession, org_id: UUID, user_id: UUID, session_id: UUID) -> None:
    """Sign somebody out of one session.

    Raises:
        SessionNotFound: it is not theirs, or has ended.
    """
    ended = await db.scalar(
        delete(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.id == session_id)
        .returning(Session.id)
    )
    if ended is None:
        raise SessionNotFound


async def end_sessions(db: AsyncSession, org_id: UUID, user_id: UUID, *, but: UUID | None = None) -> None:
    """Sign somebody out everywhere, or everywhere else; those already signed out stay so."""
    statement = delete(Session).where(Session.org_id == org_id, Session.user_id == user_id)
    await db.execute(statement if but is None else statement.where(Session.id != but))


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime, *, batch: int = 1000) -> int:
    """Delete sessions that nobody can use any more; returns how many, at most a batch."""
    expired = (
        select(Session.id)
        .where(Session.org_id == org_id, Session.expires_at <= now)
        .order_by(Session.expires_at)
        .limit(batch)
    )
    deleted = await db.scalars(
        delete(Session).where(Session.org_id == org_id, Session.id.in_(expired)).returning(Session.id)
    )
    return len(deleted.all())
