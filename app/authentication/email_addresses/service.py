"""E-mail addresses: proved, and changed, by a click on a link that was sent to them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempts import Attempts
from app.access.callers import UserCaller
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.creation import index_words
from app.accounts.users.events import EmailChanged, EmailClaimed, EmailVerified
from app.accounts.users.models import Credential, User
from app.accounts.users.rules import AccountStatus
from app.authentication.passwords.service import AccountsOf, WrongPassword, lock_own, lock_owner, read_own, send_links
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.database.violations import raise_on_violation
from app.core.errors import BadInput, FieldError
from app.core.outbox.events import Actor, ActorType, ReactionOnly, record
from app.core.security.opaque_tokens import TokenSubject
from app.core.security.passwords import derive_salt, hash_password, match_hashes

_WITH_AN_EMAIL_TO_PROVE = {AccountStatus.ACTIVE, AccountStatus.PENDING}


class SameEmail(BadInput):
    """The new address is the present one."""

    code = "same_email"
    title = "This is the present e-mail: nothing would change."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("email", self.title)])


# --- proved ----------------------------------------------------------------------------------------------------------


async def resend_verification(database: Database, attempts: Attempts, email: str, domain: str | None) -> None:
    """Mail another link to the accounts of an e-mail whose users have not proved yet that it is theirs.

    Args:
        domain: of the organisation, where only its account is meant.
    """

    def has_yet_to_prove_it(user: User) -> bool:
        return user.email_verified_at is None and user.status in _WITH_AN_EMAIL_TO_PROVE

    await send_links(database, attempts, AccountsOf(email, domain, has_yet_to_prove_it), LinkPurpose.VERIFY_EMAIL)


async def verify_email(db: AsyncSession, named: TokenSubject) -> User:
    """Take a click on a link as the proof that its address is its user's; where they asked for it, it becomes so.

    Raises:
        LinkExpired: also where somebody else of the organisation has got the address meanwhile.
    """
    link = await links.find(db, named, LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL)
    tenant = await links.get_tenant(db, link)
    user, credential = await lock_owner(db, link)
    await links.use(db, named, link.purpose)
    if user.status not in _WITH_AN_EMAIL_TO_PROVE:
        raise LinkExpired
    was_proved, at, actor = user.email_verified_at is not None, tenant.now(), Actor(ActorType.USER, user.id)
    if link.purpose == LinkPurpose.CHANGE_EMAIL:
        old_email, was_proved = user.email, False
        await _move(db, user, credential, link)
        record(db, EmailChanged(at=at, actor=actor, user_id=user.id, old_email=ReactionOnly(old_email)))
    if user.email != link.email:
        raise LinkExpired
    if not was_proved:
        user.email_verified_at = real_now()
        record(db, EmailVerified(at=at, actor=actor, user_id=user.id))
    return user


async def _move(db: AsyncSession, user: User, credential: Credential, link: Link) -> None:
    """Give somebody the address of a link, and the hash of the same password with that address's salt."""
    if (credential.password_hash is None) != (link.password_hash is None):
        raise LinkExpired
    user.email = credential.email = link.email
    credential.password_hash = link.password_hash
    with raise_on_violation(LinkExpired):
        await db.flush()
    await index_words(db, user)
    # What was sent to the old address is not to be used by whoever has it now.
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.VERIFY_EMAIL)


# --- changed ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewEmail:
    """The address that somebody wants, and their password; who has none need not know one."""

    email: str
    password: str | None


async def change_email(database: Database, secret_key: str, caller: UserCaller, new: NewEmail) -> None:
    """Mail a link to the new address: only a click on it changes anything.

    If somebody of the organisation has that address, they are told of it instead, and who asked cannot tell. Links to
    other new addresses stop working.

    Raises:
        SameEmail
        WrongPassword
        Busy
        InvalidToken: as `lock_own`.
    """
    user, credential = await read_own(database, caller)
    if new.email == user.email:
        raise SameEmail
    password_hash = await _hash_for(secret_key, credential, new)
    async with database.session(caller.org_id) as db:
        user, _ = await lock_own(db, caller, credential)
        at, actor = caller.tenant.now(), caller.actor
        # What was asked for before was a slip, perhaps, and whoever has that address is not to have this account.
        await links.cancel(db, caller.org_id, user.id, LinkPurpose.CHANGE_EMAIL)
        owner_id = await users.find_id_by_email(db, caller.org_id, new.email)
        if owner_id is not None:
            record(db, EmailClaimed(at=at, actor=actor, user_id=owner_id))
        else:
            links.send(
                db, caller.org_id, user.id, new.email, LinkPurpose.CHANGE_EMAIL,
                at=at, actor=actor, password_hash=password_hash,
            )  # fmt: skip


async def _hash_for(secret_key: str, credential: Credential, new: NewEmail) -> str | None:
    """The hash of the present password that is to come into force with the new address; none where there is none."""
    if credential.password_hash is None:
        return None
    if new.password is None or not await match_hashes(new.password, [credential.password_hash]):
        raise WrongPassword
    return await hash_password(new.password, derive_salt(secret_key, new.email))
