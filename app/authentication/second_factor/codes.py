"""Check and use up the codes of a second factor: of an authenticator app (TOTP, RFC 6238), or recovery codes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempt_limits import Attempts
from app.access.callers import Principal
from app.accounts.users.models import User
from app.authentication.second_factor import rules
from app.authentication.second_factor.errors import TotpRequired, WrongCode, WrongCodeAtSignIn
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.clock import real_now
from app.core.security.derived_keys import compute_keyed_hash
from app.core.security.sealing import CannotUnseal, unseal

RECOVERY_CODE_COUNT = 10
_RECOVERY_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 5 bits each; without characters that look alike

log = structlog.get_logger("tessera.second_factor")


@dataclass(frozen=True)
class SubmittedCode:
    """The code of a request: an authenticator's (`totp`), a recovery code, or neither."""

    totp: str | None = None
    recovery_code: str | None = None

    @classmethod
    def of_user(cls, user: User, totp: str | None, recovery_code: str | None) -> SubmittedCode:
        """Return the code that a user has sent. Codes of users without a second factor are ignored."""
        return cls(totp, recovery_code) if user.second_factor else cls()

    @property
    def is_given(self) -> bool:
        """Whether there is a code to check."""
        return self.totp is not None or self.recovery_code is not None


@asynccontextmanager
async def counting_attempts(
    attempts: Attempts, user: User | Principal, code: SubmittedCode, address: str | None = None
) -> AsyncIterator[None]:
    """Count an attempt before the block, and refund it unless the block raises that the code is wrong.

    Enter it before the transaction, so that concurrent guesses beyond the limit are refused before they are checked.

    Args:
        user: a `Principal` if the user is signed in. Attempts count per session then, apart from those at sign-in: so
            a client with a stolen access token cannot keep the user from signing in.
        address: the client's address, at sign-in.

    Raises:
        TooMany
    """
    if not code.is_given:
        yield
        return
    session_id = user.session_id if isinstance(user, Principal) else None
    failure = (WrongCodeAtSignIn, WrongCode)
    is_recovery_code = code.totp is None
    async with attempts.counting_code(
        user.id, failure=failure, session_id=session_id, address=address, is_recovery_code=is_recovery_code
    ):
        yield


async def use_code(db: AsyncSession, secret_key: str, user: User, code: SubmittedCode, now: datetime) -> None:
    """Check and use up a code at `now` (real time). Of two concurrent requests with the same code, one is refused.

    Raises:
        TotpRequired: No code was sent.
        WrongCodeAtSignIn
    """
    if code.totp is not None:
        _use_totp(secret_key, await lock_factor(db, user), code.totp, now)
    elif code.recovery_code is not None:
        await _use_recovery_code(db, secret_key, user, code.recovery_code)
    else:
        raise TotpRequired


async def use_code_signed_in(db: AsyncSession, secret_key: str, user: User, code: SubmittedCode) -> None:
    """Check and use up the code of a signed-in user.

    Raises:
        WrongCode
    """
    try:
        await use_code(db, secret_key, user, code, real_now())
    except WrongCodeAtSignIn:
        raise WrongCode from None


# --- codes of authenticators -----------------------------------------------------------------------------------------


def _use_totp(secret_key: str, factor: SecondFactor | None, code: str, now: datetime) -> None:
    if factor is None or factor.confirmed_at is None:
        raise WrongCodeAtSignIn
    step = find_step(secret_key, factor, code, now)
    if step is None or step <= factor.last_step:
        raise WrongCodeAtSignIn
    factor.last_step = step


async def lock_factor(db: AsyncSession, user: User) -> SecondFactor | None:
    """Read a user's second factor, and lock it until the transaction ends."""
    return await db.scalar(
        select(SecondFactor)
        .where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


def find_step(secret_key: str, factor: SecondFactor, code: str, now: datetime) -> int | None:
    """Return the time step whose code this is; `None` if there is none, or if the secret cannot be decrypted."""
    try:
        secret = unseal(secret_key, sealing_purpose(factor.user_id), factor.secret).decode()
    except CannotUnseal:
        # Then every code is refused, also recovery codes, until an admin resets the second factor.
        log.warning("second_factor_unreadable", user_id=str(factor.user_id), hint="Has SECRET_KEY been changed?")
        return None
    return rules.find_step(secret, code, now)


def sealing_purpose(user_id: UUID) -> str:
    """Return the purpose that a user's secret is sealed for."""
    return f"totp {user_id}"


# --- recovery codes --------------------------------------------------------------------------------------------------


async def _use_recovery_code(db: AsyncSession, secret_key: str, user: User, code: str) -> None:
    used = await db.scalar(
        delete(RecoveryCode)
        .where(
            RecoveryCode.org_id == user.org_id,
            RecoveryCode.user_id == user.id,
            RecoveryCode.hash == _hash_recovery_code(secret_key, code),
        )
        .returning(RecoveryCode.hash)
    )
    if used is None:
        raise WrongCodeAtSignIn


async def replace_recovery_codes(db: AsyncSession, secret_key: str, user: User) -> list[str]:
    """Make new recovery codes for a locked user in place of all others. Only their hashes are stored."""
    await delete_recovery_codes(db, user)
    codes = [f"{_random_characters(5)}-{_random_characters(5)}" for _ in range(RECOVERY_CODE_COUNT)]  # 50 bits each
    db.add_all(
        RecoveryCode(org_id=user.org_id, user_id=user.id, hash=_hash_recovery_code(secret_key, code)) for code in codes
    )
    return codes


def _random_characters(number: int) -> str:
    return "".join(secrets.choice(_RECOVERY_CODE_ALPHABET) for _ in range(number))


async def delete_recovery_codes(db: AsyncSession, user: User) -> None:
    """Delete all recovery codes of a locked user."""
    await db.execute(delete(RecoveryCode).where(RecoveryCode.org_id == user.org_id, RecoveryCode.user_id == user.id))


def _hash_recovery_code(secret_key: str, code: str) -> bytes:
    """Return the stored hash of a recovery code. It is keyed, because the code has too few bits for a plain hash."""
    return compute_keyed_hash(secret_key, "recovery code", rules.normalise_recovery_code(code).encode())
