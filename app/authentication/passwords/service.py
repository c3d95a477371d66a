"""Reset a forgotten password with a mailed link, or change it with the current one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempt_limits import Attempts
from app.access.callers import UserCaller
from app.access.credential_changes import record_credential_change
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
from app.authentication.credentials import lock_caller_with_credential, lock_link_owner, read_caller_with_credential
from app.authentication.errors import NoPassword, WrongPassword
from app.authentication.link_mails import AccountFilter, send_links
from app.authentication.passwords.errors import SamePassword
from app.authentication.second_factor import service as second_factor
from app.authentication.second_factor.events import SecondFactorDisabled
from app.authentication.sessions import service as sessions
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import Actor, ActorType, record
from app.core.security.opaque_tokens import TokenSubject
from app.core.security.password_hashing import is_same_password, match_hashes

# --- with a mailed link ----------------------------------------------------------------------------------------------


async def mail_reset_links(
    database: Database, attempts: Attempts, email: str, domain: str | None, address: str | None
) -> None:
    """Mail a password reset link to each active account with this e-mail address.

    Accounts without a password also get a link, and set their first password with it.

    Args:
        domain: The domain of the organisation; `None` for all organisations.
        address: The client's address.
    """
    accounts = AccountFilter(email, domain, address, lambda user: user.status == AccountStatus.ACTIVE)
    await send_links(database, attempts, accounts, LinkPurpose.RESET_PASSWORD)


async def reset_password(database: Database, secret_key: str, token: str, new_password: str) -> User:
    """Set a new password with a link's token, and end all of the user's sessions.

    The e-mail address counts as verified, because the user has read a mail sent to it. If it was verified before, a
    second factor stays required. If not, another person may have signed up with the address: see
    `_drop_claims_of_others`. A refused password does not use up the link.

    Raises:
        LinkExpired
        WeakPassword
        Busy
    """
    subject = links.parse_token(secret_key, token)
    async with database.session(subject.org_id) as db:
        link = await links.find(db, subject, LinkPurpose.RESET_PASSWORD)
        tenant = await links.get_tenant(db, link)
        try:
            user = await users.get_user(db, link.org_id, link.user_id)
        except UserNotFound:
            raise LinkExpired from None
        _check_may_reset(user, link)
    password_hash = await _hash_new_password(secret_key, tenant, user, new_password)
    async with database.session(subject.org_id) as db:
        return await _reset(db, subject, link, tenant, password_hash)


async def _reset(db: AsyncSession, subject: TokenSubject, link: Link, tenant: Tenant, password_hash: str) -> User:
    user, credential = await lock_link_owner(db, link)
    await links.use(db, subject, LinkPurpose.RESET_PASSWORD)
    _check_may_reset(user, link)
    await _set_password(db, user, credential, password_hash)
    await sessions.end_sessions(db, user.org_id, user.id)
    record_credential_change(db, user.org_id, user.id)
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    if user.email_verified_at is None:
        await _drop_claims_of_others(db, user, at)
        user.email_verified_at = real_now()
        record(db, EmailVerified(at=at, actor=actor, user_id=user.id))
    record(db, PasswordChanged(at=at, actor=actor, user_id=user.id))
    return user


async def _drop_claims_of_others(db: AsyncSession, user: User, at: datetime) -> None:
    """Remove what a person may have set up who signed up with the address of another.

    The owner of the address must be able to sign in, and that person must not. Sessions have ended already, and links
    that change the address are cancelled.
    """
    if user.second_factor:
        record(db, SecondFactorDisabled(at=at, actor=Actor(ActorType.USER, user.id), user_id=user.id))
    await second_factor.remove(db, user)
    await db.execute(
        delete(ExternalIdentity).where(ExternalIdentity.org_id == user.org_id, ExternalIdentity.user_id == user.id)
    )
    await links.cancel(db, user.org_id, user.id, LinkPurpose.SIGN_IN, LinkPurpose.VERIFY_EMAIL)


def _check_may_reset(user: User, link: Link) -> None:
    if user.status != AccountStatus.ACTIVE or user.email != link.email:
        raise LinkExpired


# --- with the current password ---------------------------------------------------------------------------------------


async def change_password(
    database: Database, secret_key: str, caller: UserCaller, current_password: str, new_password: str
) -> None:
    """Change the caller's password, and end their other sessions.

    Raises:
        NoPassword
        WrongPassword
        SamePassword, WeakPassword
        Busy
        InvalidToken: The user was erased or is no longer active.
    """
    user, checked_credential = await read_caller_with_credential(database, caller)
    if checked_credential.password_hash is None:
        raise NoPassword
    if not await match_hashes(current_password, [checked_credential.password_hash]):
        raise WrongPassword
    if is_same_password(current_password, new_password):
        raise SamePassword
    password_hash = await _hash_new_password(secret_key, caller.tenant, user, new_password)
    async with database.session(caller.org_id) as db:
        user, credential = await lock_caller_with_credential(db, caller, checked_credential)
        await _set_password(db, user, credential, password_hash)
        await sessions.end_sessions(db, caller.org_id, user.id, keep=caller.user.session_id)
        record_credential_change(db, caller.org_id, user.id)
        record(db, PasswordChanged(at=caller.tenant.now(), actor=caller.actor, user_id=user.id))


# --- setting the password --------------------------------------------------------------------------------------------


async def _hash_new_password(secret_key: str, tenant: Tenant, user: User, password: str) -> str:
    names = (user.first_name, user.last_name)
    return await hash_new_password(secret_key, tenant, password, *names, email=user.email, field="newPassword")


async def _set_password(db: AsyncSession, user: User, credential: Credential, password_hash: str) -> None:
    """Set the password, and cancel the user's links that reset the password or change the e-mail address.

    A link that changes the e-mail address stores a hash of the password, and would restore the previous password.
    """
    credential.password_hash = password_hash
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.CHANGE_EMAIL)
