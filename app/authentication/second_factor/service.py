"""Set up, check and remove the second factor: an authenticator app's code (TOTP, RFC 6238) or a recovery code."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pyotp
import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, is_second_factor_mandatory
from app.access.errors import PrivilegeEscalation
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.models import User
from app.accounts.users.service import changing_user
from app.authentication.second_factor import rules
from app.authentication.second_factor.errors import (
    CodeRefused,
    SecondFactorActive,
    SecondFactorMandatory,
    SecondFactorNotSetUp,
    TotpRequired,
    WrongCode,
)
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.clock import real_now
from app.core.outbox.events import record
from app.core.security.derived_keys import compute_keyed_hash
from app.core.security.sealing import CannotUnseal, seal, unseal

log = structlog.get_logger("tessera.second_factor")

RECOVERY_CODE_COUNT = 10
_RECOVERY_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # 5 bits each; without characters that look alike


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


@dataclass(frozen=True)
class AuthenticatorSecret:
    """The secret for an authenticator, in base 32 and as a URI."""

    secret: str
    uri: str


# --- settings of the signed-in user ----------------------------------------------------------------------------------


async def set_up(db: AsyncSession, secret_key: str, caller: UserCaller) -> AuthenticatorSecret:
    """Make a secret for the caller's authenticator, in place of an unconfirmed one. `confirm` activates it.

    Raises:
        SecondFactorActive
    """
    user = await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    secret, factor = pyotp.random_base32(), await _lock_factor(db, user)
    if factor is None:
        factor = SecondFactor(org_id=user.org_id, user_id=user.id)
        db.add(factor)
    factor.secret = seal(secret_key, sealing_purpose(user.id), secret.encode())
    factor.last_step, factor.created_at, factor.confirmed_at = 0, real_now(), None
    return AuthenticatorSecret(secret, rules.otpauth_uri(secret, issuer=caller.tenant.name, account=user.email))


async def confirm(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Require a code at every sign-in from now on, and return the recovery codes, of which only hashes are stored.

    Raises:
        SecondFactorActive, SecondFactorNotSetUp
        CodeRefused: The authenticator has another secret, or its clock is wrong.
    """
    now, user = real_now(), await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    factor = await _lock_factor(db, user)
    if factor is None:
        raise SecondFactorNotSetUp
    step = _find_step(secret_key, factor, code, now)
    if step is None:
        raise CodeRefused
    factor.last_step, factor.confirmed_at = step, now
    user.second_factor = True
    record(db, SecondFactorEnabled(at=caller.now, actor=caller.actor, user_id=user.id))
    return await _replace_recovery_codes(db, secret_key, user)


async def renew_recovery_codes(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Replace all recovery codes by new ones.

    Raises:
        SecondFactorNotSetUp, CodeRefused
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    await _use_code_signed_in(db, secret_key, user, SubmittedCode(totp=code))
    return await _replace_recovery_codes(db, secret_key, user)


async def disable(db: AsyncSession, secret_key: str, caller: UserCaller, code: SubmittedCode) -> None:
    """Require only the password at sign-ins from now on.

    Raises:
        SecondFactorNotSetUp, SecondFactorMandatory, CodeRefused
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    if is_second_factor_mandatory(caller.tenant, user.role_kind):
        raise SecondFactorMandatory
    await _use_code_signed_in(db, secret_key, user, code)
    await remove(db, user)
    record(db, SecondFactorDisabled(at=caller.now, actor=caller.actor, user_id=user.id))


async def reset(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Remove the second factor of a user who has lost it. Their sessions end: see `end_sessions_after_reset`.

    Raises:
        SecondFactorNotSetUp
        UserNotFound, PrivilegeEscalation, InvalidToken: See `changing_user`. Admins cannot reset their own.
    """
    async with changing_user(db, caller, user_id) as user:
        if user_id == caller.user.id:
            raise PrivilegeEscalation("You cannot reset your own second factor: use POST /auth/2fa/disable.")
        if not user.second_factor:
            raise SecondFactorNotSetUp("The user has no second factor.")
        await remove(db, user)
        await links.cancel(db, user.org_id, user.id, LinkPurpose.SIGN_IN)
        record(db, SecondFactorDisabled(at=caller.now, actor=caller.actor, user_id=user.id))


async def remove(db: AsyncSession, user: User) -> None:
    """Delete a locked user's second factor, confirmed or not, and their recovery codes."""
    user.second_factor = False
    await _delete_recovery_codes(db, user)
    await db.execute(delete(SecondFactor).where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id))


# --- checking codes --------------------------------------------------------------------------------------------------


async def use_code(db: AsyncSession, secret_key: str, user: User, code: SubmittedCode, now: datetime) -> None:
    """Check and use up a code at `now` (real time). Of two concurrent requests with the same code, one is refused.

    Raises:
        TotpRequired: No code was sent.
        WrongCode
    """
    if code.totp is not None:
        _use_totp(secret_key, await _lock_factor(db, user), code.totp, now)
    elif code.recovery_code is not None:
        await _use_recovery_code(db, secret_key, user, code.recovery_code)
    else:
        raise TotpRequired


async def _use_code_signed_in(db: AsyncSession, secret_key: str, user: User, code: SubmittedCode) -> None:
    try:
        await use_code(db, secret_key, user, code, real_now())
    except WrongCode:
        raise CodeRefused from None


def _use_totp(secret_key: str, factor: SecondFactor | None, code: str, now: datetime) -> None:
    if factor is None or factor.confirmed_at is None:
        raise WrongCode
    step = _find_step(secret_key, factor, code, now)
    if step is None or step <= factor.last_step:
        raise WrongCode
    factor.last_step = step


async def _use_recovery_code(db: AsyncSession, secret_key: str, user: User, code: str) -> None:
    used = await db.scalar(
        delete(RecoveryCode)
        .where(
            RecoveryCode.org_id == user.org_id,
            RecoveryCode.user_id == user.id,
            RecoveryCode.hash == recovery_code_hash(secret_key, code),
        )
        .returning(RecoveryCode.hash)
    )
    if used is None:
        raise WrongCode


# --- rows ------------------------------------------------------------------------------------------------------------


async def _lock_factor(db: AsyncSession, user: User) -> SecondFactor | None:
    """Read a user's second factor, and lock it until the transaction ends."""
    return await db.scalar(
        select(SecondFactor)
        .where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


async def _replace_recovery_codes(db: AsyncSession, secret_key: str, user: User) -> list[str]:
    await _delete_recovery_codes(db, user)
    codes = [f"{_random_characters(5)}-{_random_characters(5)}" for _ in range(RECOVERY_CODE_COUNT)]  # 50 bits each
    db.add_all(
        RecoveryCode(org_id=user.org_id, user_id=user.id, hash=recovery_code_hash(secret_key, code)) for code in codes
    )
    return codes


def _random_characters(number: int) -> str:
    return "".join(secrets.choice(_RECOVERY_CODE_ALPHABET) for _ in range(number))


async def _delete_recovery_codes(db: AsyncSession, user: User) -> None:
    await db.execute(delete(RecoveryCode).where(RecoveryCode.org_id == user.org_id, RecoveryCode.user_id == user.id))


# --- secrets ---------------------------------------------------------------------------------------------------------


def _find_step(secret_key: str, factor: SecondFactor, code: str, now: datetime) -> int | None:
    """Return the time step whose code this is; `None` if there is none, or if the secret cannot be decrypted."""
    try:
        secret = unseal(secret_key, sealing_purpose(factor.user_id), factor.secret).decode()
    except CannotUnseal:
        # Every code is refused then, recovery codes included, until an admin resets the second factor.
        log.warning("second_factor_unreadable", user_id=str(factor.user_id), hint="Has SECRET_KEY been changed?")
        return None
    return rules.find_step(secret, code, now)


def sealing_purpose(user_id: UUID) -> str:
    """Return the purpose that a user's secret is sealed for."""
    return f"totp {user_id}"


def recovery_code_hash(secret_key: str, code: str) -> bytes:
    """Return the stored hash of a recovery code. Case, dashes and spaces do not matter.

    The hash is keyed, because the code has too few bits for a plain one.
    """
    characters = "".join(character for character in code.upper() if character.isalnum())
    return compute_keyed_hash(secret_key, "recovery code", characters.encode())
