"""Open, refresh and end sessions."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.credential_changes import record_credential_change
from app.access.user_permissions import RoleKind
from app.accounts.users.models import User
from app.authentication.sessions import queries
from app.authentication.sessions.errors import InvalidRefreshToken, SessionNotFound
from app.authentication.sessions.events import SessionRevoked
from app.authentication.sessions.models import Session
from app.authentication.sessions.rules import DEFAULT_MAX_AGE, REFRESH_RETRY_WINDOW, session_expiry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, record
from app.core.security import opaque_tokens
from app.core.security.access_tokens import issue_access_token
from app.core.security.opaque_tokens import TokenSubject

MAX_DEVICE_LENGTH = 200


@dataclass(frozen=True)
class ClientInfo:
    """The client of a request: its `User-Agent` and its IP address."""

    device: str
    address: str


@dataclass(frozen=True)
class SessionTokens:
    """The current tokens of a session."""

    access_token: str
    refresh_token: str
    session: Session


def open_session(
    db: AsyncSession,
    secret_key: str,
    user: User,
    client: ClientInfo,
    now: datetime,
    *,
    remember: bool = False,
    max_age: timedelta = DEFAULT_MAX_AGE,
) -> SessionTokens:
    """Open a session at `now` (real time) for a user whose identity is proved.

    Args:
        remember: Whether the session lasts 30 days after its last use instead of one.
        max_age: How long it lasts at most, however often it is used.
    """
    session_id = new_id()
    refresh_token = opaque_tokens.make_refresh_token(secret_key, user.org_id, session_id)
    session = Session(
        org_id=user.org_id,
        id=session_id,
        user_id=user.id,
        refresh_hash=opaque_tokens.hash_token(refresh_token),
        remembered=remember,
        device=client.device[:MAX_DEVICE_LENGTH],
        address=client.address,
        created_at=now,
        last_used_at=now,
        expires_at=session_expiry(created_at=now, used_at=now, remembered=remember, max_age=max_age),
    )
    db.add(session)
    return SessionTokens(_issue_access_token(secret_key, session, user.role_kind, now), refresh_token, session)


def _issue_access_token(secret_key: str, session: Session, role_kind: RoleKind, now: datetime) -> str:
    return issue_access_token(
        secret_key,
        user_id=session.user_id,
        org_id=session.org_id,
        session_id=session.id,
        role=role_kind,
        now=now,
        session_expires_at=session.expires_at,
    )


async def refresh(
    database: Database, secret_key: str, token: str, client: ClientInfo, max_age: timedelta
) -> SessionTokens:
    """Exchange a refresh token for the next one and an access token.

    A token that is used twice may have been stolen, by the first or by the second client: its session
    ends, unless the second use is a retry within `REFRESH_RETRY_WINDOW`. A session that is older than `max_age` has
    ended too.

    Raises:
        InvalidRefreshToken
    """
    subject = read_refresh_token(secret_key, token)
    async with database.session(subject.org_id) as db:
        refreshed = await _rotate(db, secret_key, subject, _Refresh(token, client, max_age))
    if refreshed is None:  # raised after the transaction, so that the end of the session is committed
        raise InvalidRefreshToken
    return refreshed


def read_refresh_token(secret_key: str, token: str) -> TokenSubject:
    """Return the organisation and the session that a refresh token was issued for.

    Raises:
        InvalidRefreshToken: this service did not issue it.
    """
    try:
        return opaque_tokens.read_refresh_token(secret_key, token)
    except ValueError:
        raise InvalidRefreshToken from None


@dataclass(frozen=True)
class _Refresh:
    token: str
    client: ClientInfo
    max_age: timedelta


async def _rotate(db: AsyncSession, secret_key: str, subject: TokenSubject, request: _Refresh) -> SessionTokens | None:
    """Replace the refresh token of a session; `None` if the token is refused."""
    now, org_id = real_now(), subject.org_id
    token, client, max_age = request.token, request.client, request.max_age
    session = await db.scalar(
        select(Session)
        .where(
            Session.org_id == org_id,
            Session.id == subject.id,
            Session.not_expired_condition(now),
            Session.created_at > now - max_age,
        )
        .with_for_update(key_share=True)
    )
    if session is None:
        return None
    driver = await Database.get_driver(db)
    found = await queries.find_principal(driver, org_id, session.user_id, session.id, now)
    if found is None:
        return None
    tenant, user = found
    token_hash, successor = opaque_tokens.hash_token(token), opaque_tokens.make_next_refresh_token(secret_key, token)
    if secrets.compare_digest(token_hash, session.refresh_hash):
        session.previous_hash, session.refresh_hash = token_hash, opaque_tokens.hash_token(successor)
        session.rotated_at = session.last_used_at = now
        session.expires_at = session_expiry(
            created_at=session.created_at, used_at=now, remembered=session.remembered, max_age=max_age
        )
        session.device, session.address = client.device[:MAX_DEVICE_LENGTH], client.address
    elif not _is_retry(session, token_hash, now):
        await db.delete(session)
        record_credential_change(db, org_id, user.id)
        record(db, SessionRevoked(at=tenant.now(), actor=SYSTEM, user_id=user.id, session_id=session.id))
        return None
    return SessionTokens(_issue_access_token(secret_key, session, user.role_kind, now), successor, session)


def _is_retry(session: Session, token_hash: bytes, now: datetime) -> bool:
    """Return whether this token was the last one used, within the window for retries."""
    return (
        session.previous_hash is not None
        and session.rotated_at is not None
        and secrets.compare_digest(token_hash, session.previous_hash)
        and now - session.rotated_at <= REFRESH_RETRY_WINDOW
    )


async def mark_reauthenticated(db: AsyncSession, org_id: UUID, user_id: UUID, session_id: UUID, now: datetime) -> None:
    """Note that the user has proved in a session at `now` (real time) who they are.

    Raises:
        SessionNotFound: The session has ended.
    """
    marked_id = await db.scalar(
        update(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.id == session_id)
        .values(reauthenticated_at=now)
        .returning(Session.id)
    )
    if marked_id is None:
        raise SessionNotFound


async def end_session(db: AsyncSession, org_id: UUID, user_id: UUID, session_id: UUID) -> None:
    """End a session of a user.

    Raises:
        SessionNotFound: The session is another user's, or has ended already.
    """
    ended_id = await db.scalar(
        delete(Session)
        .where(Session.org_id == org_id, Session.user_id == user_id, Session.id == session_id)
        .returning(Session.id)
    )
    if ended_id is None:
        raise SessionNotFound


async def end_session_of_token(db: AsyncSession, subject: TokenSubject) -> UUID | None:
    """End the session of a refresh token, even of an earlier one; return its user, or `None` if it has ended."""
    user_id: UUID | None = await db.scalar(
        delete(Session).where(Session.org_id == subject.org_id, Session.id == subject.id).returning(Session.user_id)
    )
    if user_id is not None:
        record_credential_change(db, subject.org_id, user_id)
    return user_id


async def end_sessions(db: AsyncSession, org_id: UUID, user_id: UUID, *, keep: UUID | None = None) -> None:
    """End all sessions of a user, except the session `keep`."""
    statement = delete(Session).where(Session.org_id == org_id, Session.user_id == user_id)
    await db.execute(statement if keep is None else statement.where(Session.id != keep))


async def delete_expired(db: AsyncSession, org_id: UUID, now: datetime, *, batch: int = 1000) -> int:
    """Delete up to `batch` sessions that have expired by `now` (real time), and return how many."""
    expired_ids = (
        select(Session.id)
        .where(Session.org_id == org_id, ~Session.not_expired_condition(now))
        .order_by(Session.expires_at)
        .limit(batch)
    )
    deleted = await db.scalars(
        delete(Session).where(Session.org_id == org_id, Session.id.in_(expired_ids)).returning(Session.id)
    )
    return len(deleted.all())
