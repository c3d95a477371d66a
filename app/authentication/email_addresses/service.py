"""Verify and change e-mail addresses, with links that are mailed to them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempt_limits import Attempts
from app.access.callers import UserCaller, ensure_freshly_authenticated
from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.erasure.service import erase_locked
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.creation import store_words
from app.accounts.users.errors import UserNotFound
from app.accounts.users.events import EmailChanged, EmailClaimed, EmailVerified
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.accounts.users.service import is_full_admin, suspend_locked
from app.authentication.credentials import lock_caller_with_credential, lock_link_owner, read_caller_with_credential
from app.authentication.email_addresses.errors import AccountNotConfirmed, SameEmail
from app.authentication.errors import WrongPassword
from app.authentication.link_mails import AccountFilter, send_links
from app.authentication.sessions import service as sessions
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.database.violations import raise_on_violation
from app.core.errors import BadInput
from app.core.outbox.events import SYSTEM, Actor, ActorType, ReactionOnly, record
from app.core.security.opaque_tokens import TokenSubject
from app.core.security.password_hashing import derive_salt, hash_password, match_hashes
from app.organisations.queries import lock_organisation

_STATUSES_THAT_MAY_VERIFY = {AccountStatus.ACTIVE, AccountStatus.PENDING}

# --- verification ----------------------------------------------------------------------------------------------------


async def mail_verification_links(
    database: Database, attempts: Attempts, email: str, domain: str | None, requested_from: str | None
) -> None:
    """Mail a link to the accounts of an e-mail address that have not verified it yet.

    Args:
        domain: The domain of the organisation; `None` for all organisations.
        requested_from: The address of the client.
    """

    def is_unverified(user: User) -> bool:
        return user.email_verified_at is None and user.status in _STATUSES_THAT_MAY_VERIFY

    accounts = AccountFilter(email, domain, requested_from, is_unverified)
    await send_links(database, attempts, accounts, LinkPurpose.VERIFY_EMAIL)


@dataclass(frozen=True)
class LinkedAccount:
    """The account for which a link verifies an address."""

    tenant: Tenant
    user: User
    link: Link


async def look_up_account(db: AsyncSession, subject: TokenSubject) -> LinkedAccount:
    """Return the account of a link, without using the link.

    Raises:
        LinkExpired
    """
    link = await links.find(db, subject, LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)
    tenant = await links.get_tenant(db, link)
    try:
        user = await users.get_user(db, link.org_id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    _ensure_may_verify(user, link)
    return LinkedAccount(tenant, user, link)


async def verify_email(db: AsyncSession, subject: TokenSubject, account_id: UUID | None) -> User:
    """Verify the address that a link was mailed to. A `CHANGE_EMAIL` link first sets the user's e-mail.

    Args:
        account_id: The account that the owner of the address has confirmed to be theirs; `None` if the client does not
            say.

    Raises:
        AccountNotConfirmed: The link is for another account, or it leads to a page of the organisation, which may not
            have asked the owner of the address. It stays valid.
        LinkExpired: Also if another user of the organisation has taken the address meanwhile.
    """
    link = await links.find(db, subject, LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)
    tenant = await links.get_tenant(db, link)
    user, credential = await lock_link_owner(db, link)
    _ensure_may_verify(user, link)
    if account_id != user.id and (account_id is not None or tenant.app_url is not None):
        raise AccountNotConfirmed
    await links.use(db, subject, link.purpose)
    was_verified, at, actor = user.email_verified_at is not None, tenant.now(), Actor(ActorType.USER, user.id)
    if link.purpose == LinkPurpose.CHANGE_EMAIL:
        old_email, was_verified = user.email, False
        await _set_email(db, user, credential, link)
        record(db, EmailChanged(at=at, actor=actor, user_id=user.id, old_email=ReactionOnly(old_email)))
    if not was_verified:
        user.email_verified_at = real_now()
        record(db, EmailVerified(at=at, actor=actor, user_id=user.id))
    return user


def _ensure_may_verify(user: User, link: Link) -> None:
    if user.status not in _STATUSES_THAT_MAY_VERIFY:
        raise LinkExpired
    if link.purpose == LinkPurpose.VERIFY_EMAIL and user.email != link.email:
        raise LinkExpired


async def disown(db: AsyncSession, subject: TokenSubject) -> UUID:
    """Take an address back from an account that is not its owner's; return the user of the account.

    A `CHANGE_EMAIL` link is cancelled. A `VERIFY_EMAIL` link ends the account: no owner has proved it. One that
    an admin or a product of the organisation has made active is suspended, so that the organisation decides, and the
    last full admin only signed out.

    Raises:
        LinkExpired: Also if the address was verified meanwhile.
    """
    link = await links.find(db, subject, LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)
    tenant = await links.get_tenant(db, link)
    await lock_organisation(db, link.org_id, shared=True)
    locked = await users.lock_with_admins(db, link.org_id, link.user_id)
    user = locked.get(link.user_id)
    await links.use(db, subject, link.purpose)
    if link.purpose == LinkPurpose.CHANGE_EMAIL:
        return link.user_id
    if user is None or user.email_verified_at is not None or user.email != link.email:
        raise LinkExpired
    if user.role_kind == RoleKind.CUSTOMER or user.status != AccountStatus.ACTIVE:
        await erase_locked(db, user, at=tenant.now(), actor=SYSTEM)
    elif any(is_full_admin(other) for other in locked.values() if other is not user) or not is_full_admin(user):
        await suspend_locked(db, user, at=tenant.now(), actor=SYSTEM)
    else:
        await sessions.end_sessions(db, user.org_id, user.id)
    return link.user_id


async def _set_email(db: AsyncSession, user: User, credential: Credential, link: Link) -> None:
    """Set the user's e-mail to the link's address, and the password hash to the one salted with it."""
    if (credential.password_hash is None) != (link.password_hash is None):  # a password was set after the link was sent
        raise LinkExpired
    user.email = credential.email = link.email
    credential.password_hash = link.password_hash
    with raise_on_violation(LinkExpired):
        await db.flush()
    await store_words(db, user)
    # Links mailed to the old address must not work for its next owner.
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.VERIFY_EMAIL)


# --- change ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewEmail:
    """The new address and the current password.

    Attributes:
        password: `None` if the account has none.
        requested_from: the address of the client.
        sends_mail: false if the client has caused too many mails to the address.
    """

    email: str
    password: str | None
    requested_from: str | None = None
    sends_mail: bool = True


async def request_email_change(database: Database, secret_key: str, caller: UserCaller, new: NewEmail) -> None:
    """Mail a link to the new address, and cancel earlier ones. Nothing changes until the link is followed.

    If another user of the organisation has the address, that user is notified instead, and the caller cannot tell.

    Raises:
        SameEmail
        WrongPassword
        BadInput: The password is missing.
        ReauthenticationRequired: The account has no password, and the sign-in is not fresh.
        Busy
        InvalidToken: The user was erased or is no longer active.
    """
    user, checked_credential = await read_caller_with_credential(database, caller)
    if new.email == user.email:
        raise SameEmail
    if checked_credential.password_hash is None:
        ensure_freshly_authenticated(caller)
    password_hash = await _hash_with_new_salt(secret_key, checked_credential, new)
    async with database.session(caller.org_id) as db:
        user, _ = await lock_caller_with_credential(db, caller, checked_credential)
        at, actor = caller.tenant.now(), caller.actor
        # The address requested before may have been a typing error: its owner must not get this account.
        await links.cancel(db, caller.org_id, user.id, LinkPurpose.CHANGE_EMAIL)
        owner_id = await users.find_id_by_email(db, caller.org_id, new.email)
        if not new.sends_mail:
            return
        if owner_id is not None:
            record(db, EmailClaimed(at=at, actor=actor, user_id=owner_id))
        else:
            links.send(
                db, caller.org_id, user.id, new.email, LinkPurpose.CHANGE_EMAIL,
                at=at, actor=actor, password_hash=password_hash, requested_from=new.requested_from,
            )  # fmt: skip


async def _hash_with_new_salt(secret_key: str, credential: Credential, new: NewEmail) -> str | None:
    """Check the current password, and hash it with the salt of the new address; `None` if the account has none."""
    if credential.password_hash is None:
        return None
    if new.password is None:
        raise BadInput.of_field("password", "This is required, since the account has a password.")
    if not await match_hashes(new.password, [credential.password_hash]):
        raise WrongPassword
    return await hash_password(new.password, derive_salt(secret_key, new.email))
