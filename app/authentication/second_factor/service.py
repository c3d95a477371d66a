"""The second factor: a code of an authenticator app (TOTP, RFC 6238), or a recovery code in its place."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pyotp
import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.errors import PrivilegeEscalation
from app.access.permissions import RoleKind
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.models import User
from app.accounts.users.service import changing_user
from app.authentication.second_factor import rules
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.second_factor.models import RecoveryCode, SecondFactor
from app.core.clock import real_now
from app.core.errors import Conflict, Forbidden, Unauthenticated
from app.core.outbox.events import record
from app.core.security.derived_keys import keyed_hash
from app.core.security.sealing import CannotUnseal, seal, unseal

log = structlog.get_logger("tessera.second_factor")

RECOVERY_CODES = 10
_READABLE = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that looks like something else: 5 bits each


class TotpRequired(Unauthenticated):
    """The password was right, and is not enough."""

    code = "totp_required"
    title = "Send the code of your authenticator as `totp` as well, or a recovery code as `recoveryCode`."
    member_descriptions = {"exchangeToken": "Token for `POST /auth/oidc/exchange`. Only after a social sign-in."}


class WrongCode(Unauthenticated):
    """The code is not the present one, or was used before."""

    code = "totp_invalid"
    title = "The code is wrong, or was used before."


class CodeRefused(Forbidden):
    """The same, to somebody who is signed in already. Not a 401, at which clients sign their user out."""

    code = "wrong_code"
    title = "The code is wrong, or was used before."


class SecondFactorActive(Conflict):
    """There is one already."""

    code = "second_factor_active"
    title = "You have a second factor: disable it before you set up another."


class SecondFactorNotSetUp(Conflict):
    """There is none."""

    code = "second_factor_not_set_up"
    title = "You have no second factor: set it up with POST /auth/2fa/setup first."


class SecondFactorMandatory(Conflict):
    """The organisation wants one of its admins and engineers."""

    code = "second_factor_mandatory"
    title = "Your organisation requires a second factor of you."


@dataclass(frozen=True)
class Proof:
    """What somebody sends besides their password."""

    totp: str | None = None
    recovery_code: str | None = None

    @classmethod
    def of(cls, user: User, totp: str | None, recovery_code: str | None) -> Proof:
        """What this user sends; nothing that counts, where they have no second factor to prove."""
        return cls(totp, recovery_code) if user.second_factor else cls()

    @property
    def is_given(self) -> bool:
        """Whether there is anything to check."""
        return self.totp is not None or self.recovery_code is not None


@dataclass(frozen=True)
class Setup:
    """What an authenticator needs to know: the secret in base 32, and the same as a URI."""

    secret: str
    uri: str


async def set_up(db: AsyncSession, secret_key: str, caller: UserCaller) -> Setup:
    """Make a secret for the caller's authenticator; until they confirm it, nothing depends on it.

    Raises:
        SecondFactorActive
    """
    user = await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    secret, factor = pyotp.random_base32(), await _factor(db, user)
    if factor is None:
        factor = SecondFactor(org_id=user.org_id, user_id=user.id)
        db.add(factor)
    factor.secret = seal(secret_key, purpose_of(user.id), secret.encode())
    factor.last_step, factor.created_at, factor.confirmed_at = 0, real_now(), None
    return Setup(secret, rules.otpauth_uri(secret, issuer=caller.tenant.name, account=user.email))


async def confirm(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Have a code asked for at every sign-in from now on; returns the recovery codes, which nobody can read again.

    Raises:
        SecondFactorActive, SecondFactorNotSetUp
        CodeRefused: the authenticator does not have the secret, or its clock is wrong.
    """
    now, user = real_now(), await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    factor = await _factor(db, user)
    if factor is None:
        raise SecondFactorNotSetUp
    step = _matching_step(secret_key, factor, code, now)
    if step is None:
        raise CodeRefused
    factor.last_step, factor.confirmed_at = step, now
    user.second_factor = True
    record(db, SecondFactorEnabled(at=caller.now, actor=caller.actor, user_id=user.id))
    return await _give_recovery_codes(db, secret_key, user)


async def renew_recovery_codes(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Ten new recovery codes, in place of all before.

    Raises:
        SecondFactorNotSetUp, CodeRefused
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    await _prove_again(db, secret_key, user, Proof(totp=code))
    return await _give_recovery_codes(db, secret_key, user)


async def disable(db: AsyncSession, secret_key: str, caller: UserCaller, proof: Proof) -> None:
    """Let the password be enough again.

    Raises:
        SecondFactorNotSetUp, SecondFactorMandatory, CodeRefused
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    if caller.tenant.require_2fa and user.role_kind != RoleKind.CUSTOMER:
        raise SecondFactorMandatory
    await _prove_again(db, secret_key, user, proof)
    await remove(db, user)
    record(db, SecondFactorDisabled(at=caller.now, actor=caller.actor, user_id=user.id))


async def reset(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Remove the second factor of a user who has lost it. Their sessions end: see `end_sessions_after_reset`.

    Raises:
        SecondFactorNotSetUp
        UserNotFound, PrivilegeEscalation, InvalidToken: see `changing_user`. Admins cannot reset their own.
    """
    async with changing_user(db, caller, user_id) as user:
        if user_id == caller.user.id:
            raise PrivilegeEscalation("You cannot reset your own second factor: use POST /auth/2fa/disable.")
        if not user.second_factor:
            raise SecondFactorNotSetUp("The user has no second factor.")
        await remove(db, user)
        await links.cancel(db, user.org_id, user.id, LinkPurpose.SIGN_IN)
        record(db, SecondFactorDisabled(at=caller.now, actor=caller.actor, user_id=user.id))


async def prove(db: AsyncSession, secret_key: str, user: User, proof: Proof, now: datetime) -> None:
    """Check and use up a code. Of two requests with the same code, one is refused.

    Raises:
        TotpRequired: there is none.
        WrongCode
    """
    if proof.totp is not None:
        await _use_totp(db, secret_key, user, proof.totp, now)
    elif proof.recovery_code is not None:
        await _use_recovery_code(db, secret_key, user, proof.recovery_code)
    else:
        raise TotpRequired


async def _prove_again(db: AsyncSession, secret_key: str, user: User, proof: Proof) -> None:
    try:
        await prove(db, secret_key, user, proof, real_now())
    except WrongCode:
        raise CodeRefused from None


async def _factor(db: AsyncSession, user: User) -> SecondFactor | None:
    """Somebody's row as it is now, locked until the transaction ends."""
    return await db.scalar(
        select(SecondFactor)
        .where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )


async def _use_totp(db: AsyncSession, secret_key: str, user: User, code: str, now: datetime) -> None:
    factor = await _factor(db, user)
    if factor is None or factor.confirmed_at is None:
        raise WrongCode
    step = _matching_step(secret_key, factor, code, now)
    if step is None or step <= factor.last_step:
        raise WrongCode
    factor.last_step = step


async def _use_recovery_code(db: AsyncSession, secret_key: str, user: User, code: str) -> None:
    used = await db.scalar(
        delete(RecoveryCode)
        .where(
            RecoveryCode.org_id == user.org_id,
            RecoveryCode.user_id == user.id,
            RecoveryCode.hash == recovery_hash(secret_key, code),
        )
        .returning(RecoveryCode.hash)
    )
    if used is None:
        raise WrongCode


async def _give_recovery_codes(db: AsyncSession, secret_key: str, user: User) -> list[str]:
    await _remove_recovery_codes(db, user)
    codes = [f"{_letters(5)}-{_letters(5)}" for _ in range(RECOVERY_CODES)]  # 50 bits, such as 7KQ2M-X9FPT
    db.add_all(
        RecoveryCode(org_id=user.org_id, user_id=user.id, hash=recovery_hash(secret_key, code)) for code in codes
    )
    return codes


def _letters(number: int) -> str:
    return "".join(secrets.choice(_READABLE) for _ in range(number))


async def remove(db: AsyncSession, user: User) -> None:
    """Forget somebody's second factor, or what they have set up of one; they are locked."""
    user.second_factor = False
    await _remove_recovery_codes(db, user)
    await db.execute(delete(SecondFactor).where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id))


async def _remove_recovery_codes(db: AsyncSession, user: User) -> None:
    await db.execute(delete(RecoveryCode).where(RecoveryCode.org_id == user.org_id, RecoveryCode.user_id == user.id))


def _matching_step(secret_key: str, factor: SecondFactor, code: str, now: datetime) -> int | None:
    try:
        secret = secret_of(secret_key, factor)
    except CannotUnseal:
        # No code is right any more, of either kind: an admin can reset it.
        log.warning("second_factor_unreadable", user_id=str(factor.user_id), hint="Has SECRET_KEY been changed?")
        return None
    return rules.matching_step(secret, code, now)


def secret_of(secret_key: str, factor: SecondFactor) -> str:
    """The secret that the authenticator has, in base 32.

    Raises:
        CannotUnseal: it was sealed with another key.
    """
    return unseal(secret_key, purpose_of(factor.user_id), factor.secret).decode()


def purpose_of(user_id: object) -> str:
    """What a secret is sealed for."""
    return f"totp {user_id}"


def recovery_hash(secret_key: str, code: str) -> bytes:
    """What is stored of a recovery code, however it is typed: it has too few bits for a plain hash."""
    typed = "".join(character for character in code.upper() if character.isalnum())
    return keyed_hash(secret_key, "recovery code", typed.encode())
