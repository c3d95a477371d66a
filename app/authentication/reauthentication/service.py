"""Prove again, in a session, who the user is: operations that change whom to trust require it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import FRESH_SIGN_IN, UserCaller
from app.accounts.users.models import Credential, User
from app.authentication.credentials import lock_caller_with_credential, read_caller_with_credential
from app.authentication.errors import NoPassword, WrongPassword
from app.authentication.second_factor.codes import SubmittedCode, use_code_signed_in
from app.authentication.sessions import service as sessions
from app.authentication.sessions.errors import SessionNotFound
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import BadInput
from app.core.security.access_tokens import InvalidToken
from app.core.security.password_hashing import match_hashes

_SIGN_IN_AT_PROVIDER = "This account has no password: sign in at your provider again, and use the new session."


async def check_password(database: Database, caller: UserCaller, password: str) -> tuple[User, Credential]:
    """Compare the caller's password; return their row and the credential that it was compared with.

    Raises:
        NoPassword, WrongPassword
        InvalidToken: The user was erased.
    """
    user, credential = await read_caller_with_credential(database, caller)
    if credential.password_hash is None:
        raise NoPassword(_SIGN_IN_AT_PROVIDER)
    if not await match_hashes(password, [credential.password_hash]):
        raise WrongPassword
    return user, credential


async def reauthenticate(
    db: AsyncSession, secret_key: str, caller: UserCaller, checked_credential: Credential, code: SubmittedCode
) -> datetime:
    """Make the caller's session fresh, after `check_password`; return until when it is (real time).

    Raises:
        BadInput: The user has a second factor, and sent no code.
        WrongCode
        WrongPassword: The password was changed since it was compared.
        InvalidToken: The user is no longer active, or the session has ended.
    """
    user, _ = await lock_caller_with_credential(db, caller, checked_credential)
    if user.second_factor:
        if not code.is_given:
            raise BadInput.of_field("totp", "This is required, since the account has a second factor.")
        await use_code_signed_in(db, secret_key, user, code)
    now = real_now()
    try:
        await sessions.mark_reauthenticated(db, caller.org_id, user.id, caller.user.session_id, now)
    except SessionNotFound:
        raise InvalidToken from None
    return now + FRESH_SIGN_IN
