"""Whose account it is that somebody comes to from a provider, and the end of their sign-in."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempts import Attempts
from app.access.permissions import RoleKind
from app.access.tenant import Tenant
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.single_use_links.service import LinkExpired
from app.accounts.users import queries as users
from app.accounts.users.creation import EmailTaken, NewUser, add, newcomer
from app.accounts.users.events import EmailVerified, UserSignedUp
from app.accounts.users.models import User
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import AccountStatus, status_of_sign_up
from app.authentication.second_factor.service import Proof
from app.authentication.sessions import service as sessions
from app.authentication.sessions.service import SignedIn, Where, check_active
from app.authentication.social.events import IdentityLinked
from app.authentication.social.models import ExternalIdentity
from app.authentication.social.rules import Identity
from app.core.clock import real_now
from app.core.database.pool import UNIQUE_VIOLATION, Database, sqlstate_of
from app.core.errors import Forbidden, Unavailable
from app.core.outbox.events import Actor, ActorType, record
from app.core.security.opaque_tokens import Named, link_token

TRIES = 3  # of sign-ins that get in each other's way


class EmailNotVerified(Forbidden):
    """Whose the e-mail is has not been proved to the provider, or not to us."""

    code = "email_not_verified"
    title = "The e-mail is not verified."


class LinkedElsewhere(Forbidden):
    """The account with this e-mail belongs to another account at the same provider."""

    code = "linked_elsewhere"
    title = "This e-mail's account is linked to another account at the provider: sign in with that one."


_NOT_VERIFIED_THERE = "The provider does not say of any e-mail that it is verified: verify it there, and begin again."
# To verify such an account by its link alone would let in whoever made it, with a password that they know.
_NOT_VERIFIED_HERE = (
    "An account here has this e-mail, but nobody has proved to us that it is theirs: set its password anew with "
    "POST /auth/password/forgot, or follow the link of the mail if it was you who signed up; then begin again."
)
_INVITED = "You are invited: follow the link in the invitation that was mailed to you first."


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Somebody who comes from a provider.

    `role` is what they become if they are new; who is not a customer then waits for an admin's approval. From their
    `address` only so many may sign up.
    """

    provider: str
    who: Identity
    role: RoleKind
    address: str | None


class _Overtaken(Exception):
    """Another sign-in of the same user was quicker."""


async def account_of(database: Database, attempts: Attempts, tenant: Tenant, arrival: Arrival) -> User:
    """The account of somebody who signed in at a provider: theirs already, one with their e-mail, or a new one.

    Raises:
        EmailNotVerified: of a user that they are not known as yet, the e-mail decides, and it is not proved.
        LinkedElsewhere: an address may have been given to somebody else since.
        TooMany
    """
    for _ in range(TRIES):
        try:
            async with database.session(tenant.id) as db:
                user = await _find(db, tenant, arrival)
            if user is not None:
                return user
            await attempts.sign_up(arrival.address)
            async with database.session(tenant.id) as db:
                return await _join(db, tenant, arrival)
        except (_Overtaken, EmailTaken, UserNotFound):
            continue
    raise Unavailable


async def _find(db: AsyncSession, tenant: Tenant, arrival: Arrival) -> User | None:
    who = arrival.who
    known = await db.scalar(
        select(ExternalIdentity.user_id).where(
            ExternalIdentity.org_id == tenant.id,
            ExternalIdentity.provider == arrival.provider,
            ExternalIdentity.subject == who.subject,
        )
    )
    if known is not None:
        return await users.user(db, tenant.id, known)
    if who.email is None:
        raise EmailNotVerified(_NOT_VERIFIED_THERE)
    owner_id = await users.owner_of(db, tenant.id, who.email)
    if owner_id is None:
        return None
    user = await users.lock(db, tenant.id, owner_id)
    if user.status == AccountStatus.INVITED:
        raise EmailNotVerified(_INVITED)
    if user.email != who.email or user.email_verified_at is None:
        raise EmailNotVerified(_NOT_VERIFIED_HERE)
    if await _is_linked(db, user, arrival.provider):
        raise LinkedElsewhere
    await _link(db, user, arrival)
    actor = Actor(ActorType.USER, user.id)
    record(db, IdentityLinked(at=tenant.now(), actor=actor, user_id=user.id, provider=arrival.provider))
    return user


async def _is_linked(db: AsyncSession, user: User, provider: str) -> bool:
    linked = select(ExternalIdentity.subject).where(
        ExternalIdentity.org_id == user.org_id,
        ExternalIdentity.user_id == user.id,
        ExternalIdentity.provider == provider,
    )
    return await db.scalar(linked.limit(1)) is not None


async def _join(db: AsyncSession, tenant: Tenant, arrival: Arrival) -> User:
    who, role = arrival.who, arrival.role
    assert who.email is not None
    new = NewUser(who.first_name, who.last_name, who.email)
    user = newcomer(tenant.id, new, role, status_of_sign_up(role))
    user.email_verified_at = user.created_at
    await add(db, user, None)
    await _link(db, user, arrival)
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    record(
        db,
        UserSignedUp(at=at, actor=actor, user_id=user.id, role=role, status=AccountStatus(user.status)),
        EmailVerified(at=at, actor=actor, user_id=user.id),
    )
    return user


async def _link(db: AsyncSession, user: User, arrival: Arrival) -> None:
    db.add(
        ExternalIdentity(
            org_id=user.org_id,
            provider=arrival.provider,
            subject=arrival.who.subject,
            user_id=user.id,
            created_at=real_now(),
        )
    )
    try:
        await db.flush()
    except IntegrityError as error:
        if sqlstate_of(error) == UNIQUE_VIOLATION:
            raise _Overtaken from None
        raise


def issue_token(db: AsyncSession, secret_key: str, user: User, *, remember: bool) -> str:
    """What stands for a sign-in at a provider, for a minute: `exchange` makes a session of it.

    Args:
        remember: whether that is to be one of the longer ones, unless `exchange` is told otherwise.
    """
    link = links.issue(db, user.org_id, user.id, user.email, LinkPurpose.SIGN_IN)
    link.remembered = remember
    return link_token(secret_key, link.org_id, link.id)


async def holder(db: AsyncSession, named: Named) -> tuple[User, bool]:
    """Who may exchange a token, and whether they asked to be remembered when they began.

    Raises:
        LinkExpired: nobody any more.
        AccountPending, AccountRejected, AccountSuspended
    """
    link = await links.find(db, named, LinkPurpose.SIGN_IN)
    try:
        user = await users.user(db, named.org_id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    check_active(user)
    return user, link.remembered


async def exchange(db: AsyncSession, secret_key: str, named: Named, where: Where, proof: Proof) -> SignedIn:
    """Open a session for a token's user, and use the token up. A wrong code leaves it as it was.

    Raises:
        LinkExpired
        AccountPending, AccountRejected, AccountSuspended
        TotpRequired, WrongCode
    """
    user, _ = await holder(db, named)
    try:
        signed_in = await sessions.sign_in(db, secret_key, user, where, proof)
    except UserNotFound:
        raise LinkExpired from None
    await links.use(db, named, LinkPurpose.SIGN_IN)  # now, since users are locked first
    return signed_in
