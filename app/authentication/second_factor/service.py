"""Set up, confirm, disable and reset the second factor. `codes.py` checks the codes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pyotp
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, is_second_factor_mandatory
from app.access.errors import PrivilegeEscalation
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.errors import EmailNotVerified
from app.accounts.users.models import User
from app.accounts.users.service import changing_user
from app.authentication.second_factor import codes, rules
from app.authentication.second_factor.codes import SubmittedCode
from app.authentication.second_factor.errors import (
    SecondFactorActive,
    SecondFactorMandatory,
    SecondFactorNotSetUp,
    WrongCode,
)
from app.authentication.second_factor.events import SecondFactorDisabled, SecondFactorEnabled
from app.authentication.second_factor.models import SecondFactor
from app.core.clock import real_now
from app.core.outbox.events import record
from app.core.security.sealing import seal

_VERIFY_FIRST = (
    "Your e-mail is not verified: follow the link that was mailed to it, or ask for another with "
    "POST /auth/email/resend, and repeat this. Until then, a second factor could lock out the owner of the address."
)


@dataclass(frozen=True)
class AuthenticatorSecret:
    """The secret for an authenticator, in base 32 and as a URI."""

    secret: str
    uri: str


async def set_up(db: AsyncSession, secret_key: str, caller: UserCaller) -> AuthenticatorSecret:
    """Make a secret for the caller's authenticator, in place of an unconfirmed one. `confirm` activates it.

    Raises:
        SecondFactorActive, EmailNotVerified
    """
    user = await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    _ensure_email_is_verified(user)
    secret, factor = pyotp.random_base32(), await codes.lock_factor(db, user)
    if factor is None:
        factor = SecondFactor(org_id=user.org_id, user_id=user.id)
        db.add(factor)
    factor.secret = seal(secret_key, codes.sealing_purpose(user.id), secret.encode())
    factor.last_step, factor.created_at, factor.confirmed_at = 0, real_now(), None
    return AuthenticatorSecret(secret, rules.otpauth_uri(secret, issuer=caller.tenant.name, account=user.email))


async def confirm(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Require a code at every sign-in from now on, and return the recovery codes, of which only hashes are stored.

    Raises:
        SecondFactorActive, SecondFactorNotSetUp, EmailNotVerified
        WrongCode: The authenticator has another secret, or its clock is wrong.
    """
    now, user = real_now(), await users.lock_caller(db, caller)
    if user.second_factor:
        raise SecondFactorActive
    factor = await codes.lock_factor(db, user)
    if factor is None:
        raise SecondFactorNotSetUp
    _ensure_email_is_verified(user)
    step = codes.find_step(secret_key, factor, code, now)
    if step is None:
        raise WrongCode
    factor.last_step, factor.confirmed_at = step, now
    user.second_factor = True
    record(db, SecondFactorEnabled(at=caller.now, actor=caller.actor, user_id=user.id))
    return await codes.replace_recovery_codes(db, secret_key, user)


async def renew_recovery_codes(db: AsyncSession, secret_key: str, caller: UserCaller, code: str) -> list[str]:
    """Replace all recovery codes by new ones.

    Raises:
        SecondFactorNotSetUp, WrongCode
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    await codes.use_code_signed_in(db, secret_key, user, SubmittedCode(totp=code))
    return await codes.replace_recovery_codes(db, secret_key, user)


async def disable(db: AsyncSession, secret_key: str, caller: UserCaller, code: SubmittedCode) -> None:
    """Require only the password at sign-ins from now on.

    Raises:
        SecondFactorNotSetUp, SecondFactorMandatory, WrongCode
    """
    user = await users.lock_caller(db, caller)
    if not user.second_factor:
        raise SecondFactorNotSetUp
    if is_second_factor_mandatory(caller.tenant, user.role_kind):
        raise SecondFactorMandatory
    await codes.use_code_signed_in(db, secret_key, user, code)
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
    await codes.delete_recovery_codes(db, user)
    await db.execute(delete(SecondFactor).where(SecondFactor.org_id == user.org_id, SecondFactor.user_id == user.id))


def _ensure_email_is_verified(user: User) -> None:
    """Refuse a user whose address may belong to another person, who would be locked out by the second factor.

    Raises:
        EmailNotVerified
    """
    if user.email_verified_at is None:
        raise EmailNotVerified(_VERIFY_FIRST)
