"""Verify and change e-mail addresses, with links that are mailed to them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempt_limits import Attempts
from app.access.callers import UserCaller
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.creation import index_words
from app.accounts.users.events import EmailChanged, EmailClaimed, EmailVerified
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.authentication.credentials import lock_caller_with_credential, lock_link_owner, read_caller_with_credential
from app.authentication.email_addresses.errors import SameEmail
from app.authentication.errors import WrongPassword
from app.authentication.link_mails import AccountFilter, send_links
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.database.violations import raise_on_violation
from app.core.errors import BadInput
from app.core.outbox.events import Actor, ActorType, ReactionOnly, record
from app.core.security.opaque_tokens import TokenSubject
from app.core.security.password_hashing import derive_salt, hash_password, match_hashes

_STATUSES_THAT_MAY_VERIFY = {AccountStatus.ACTIVE, AccountStatus.PENDING}

# --- verification ----------------------------------------------------------------------------------------------------


async def mail_verification_links(
    database: Database, attempts: Attempts, email: str, domain: str | None, address: str | None
) -> None:
    """Mail a link to the accounts of an e-mail address that have not verified it yet.

    Args:
        domain: The domain of the organisation; `None` for all organisations.
        address: The client's address.
    """

    def is_unverified(user: User) -> bool:
        return user.email_verified_at is None and user.status in _STATUSES_THAT_MAY_VERIFY

    await send_links(database, attempts, AccountFilter(email, domain, address, is_unverified), LinkPurpose.VERIFY_EMAIL)


async def verify_email(db: AsyncSession, subject: TokenSubject) -> User:
    """Verify the address that a link was mailed to. A `CHANGE_EMAIL` link first sets the user's e-mail.

    Raises:
        LinkExpired: Also if another user of the organisation has taken the address meanwhile.
    """
    link = await links.find(db, subject, LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)
    tenant = await links.get_tenant(db, link)
    user, credential = await lock_link_owner(db, link)
    await links.use(db, subject, link.purpose)
    if user.status not in _STATUSES_THAT_MAY_VERIFY:
        raise LinkExpired
    was_verified, at, actor = user.email_verified_at is not None, tenant.now(), Actor(ActorType.USER, user.id)
    if link.purpose == LinkPurpose.CHANGE_EMAIL:
        old_email, was_verified = user.email, False
        await _set_email(db, user, credential, link)
        record(db, EmailChanged(at=at, actor=actor, user_id=user.id, old_email=ReactionOnly(old_email)))
    if user.email != link.email:
        raise LinkExpired
    if not was_verified:
        user.email_verified_at = real_now()
        record(db, EmailVerified(at=at, actor=actor, user_id=user.id))
    return user


async def _set_email(db: AsyncSession, user: User, credential: Credential, link: Link) -> None:
    """Set the user's e-mail to the link's address, and the password hash to the one salted with it."""
    if (credential.password_hash is None) != (link.password_hash is None):  # a password was set after the link was sent
        raise LinkExpired
    user.email = credential.email = link.email
    credential.password_hash = link.password_hash
    with raise_on_violation(LinkExpired):
        await db.flush()
    await index_words(db, user)
    # Links mailed to the old address must not work for its next owner.
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.VERIFY_EMAIL)


# --- change ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewEmail:
    """The new address and the current password.

    Attributes:
        password: `None` if the account has none.
        sends_mail: false if the client has caused too many mails to the address.
    """

    email: str
    password: str | None
    sends_mail: bool = True


async def request_email_change(database: Database, secret_key: str, caller: UserCaller, new: NewEmail) -> None:
    """Mail a link to the new address, and cancel earlier ones. Nothing changes until the link is followed.

    If another user of the organisation has the address, that user is notified instead, and the caller cannot tell.

    Raises:
        SameEmail
        WrongPassword
        BadInput: The password is missing.
        Busy
        InvalidToken: The user was erased or is no longer active.
    """
    user, checked_credential = await read_caller_with_credential(database, caller)
    if new.email == user.email:
        raise SameEmail
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
                at=at, actor=actor, password_hash=password_hash,
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
