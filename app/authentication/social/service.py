"""Find, link or create the user of a social sign-in, and exchange its token for a session."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.attempt_limits import Attempts
from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.creation import NewUser, add_user, build_user
from app.accounts.users.errors import EmailNotVerified, EmailTaken, UserNotFound
from app.accounts.users.events import EmailVerified, UserSignedUp
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus, status_of_sign_up
from app.authentication.second_factor.codes import SubmittedCode
from app.authentication.sessions.service import ClientInfo
from app.authentication.sign_in import service as sign_in
from app.authentication.sign_in.queries import lock_for_sign_in
from app.authentication.sign_in.service import SignedIn, ensure_active
from app.authentication.social.errors import AccountLinkedConcurrently, LinkedElsewhere
from app.authentication.social.events import IdentityLinked
from app.authentication.social.models import ExternalIdentity
from app.authentication.social.rules import Identity
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.database.violations import raise_on_violation
from app.core.email_addresses import refuse_lookalike_email
from app.core.errors import Unavailable
from app.core.outbox.events import Actor, ActorType, record
from app.core.security.opaque_tokens import TokenSubject, make_link_token

MAX_ATTEMPTS = 3  # when concurrent sign-ins of the same user conflict


_NOT_VERIFIED_AT_PROVIDER = (
    "The provider does not confirm that your e-mail is verified: verify it at the provider, and start again."
)
# Another person may have created the account. The mailed link alone would verify it and keep that person's password.
_NOT_VERIFIED_IN_TESSERA = (
    "An account with this e-mail exists, but the e-mail is not verified. Reset its password with "
    "POST /auth/password/forgot, or follow the link in the mail if you signed up yourself; then start again."
)
_LOOKALIKE = "Your e-mail could be mistaken for another, because of its letters: use another address."
_INVITED = "You have been invited: follow the link in the invitation mail first."


@dataclass(frozen=True, kw_only=True)
class ProviderLogin:
    """A completed login at a provider.

    Attributes:
        role: The role kind of the user if the login creates one. All but customers then wait for an admin's approval.
        address: The client's address. The number of sign-ups per address is limited.
    """

    provider: str
    identity: Identity
    role: RoleKind
    address: str | None


async def find_or_create_user(database: Database, attempts: Attempts, tenant: Tenant, login: ProviderLogin) -> User:
    """Return the user of a login: the linked one, the one with the same e-mail (which is then linked), or a new one.

    Raises:
        EmailNotVerified: The login is not linked yet, and its e-mail is not verified.
        LinkedElsewhere: The e-mail may have been reassigned to another person since the user was linked.
        TooMany
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            async with database.session(tenant.id) as db:
                user = await _find_user(db, tenant, login)
            if user is not None:
                return user
            await attempts.count_sign_up(login.address)
            async with database.session(tenant.id) as db:
                return await _create_user(db, tenant, login)
        except (AccountLinkedConcurrently, EmailTaken, UserNotFound):
            continue
    raise Unavailable


async def _find_user(db: AsyncSession, tenant: Tenant, login: ProviderLogin) -> User | None:
    identity = login.identity
    linked_id = await db.scalar(
        select(ExternalIdentity.user_id).where(
            ExternalIdentity.org_id == tenant.id,
            ExternalIdentity.provider == login.provider,
            ExternalIdentity.subject == identity.subject,
        )
    )
    if linked_id is not None:
        return await users.get_user(db, tenant.id, linked_id)
    if identity.email is None:
        raise EmailNotVerified(_NOT_VERIFIED_AT_PROVIDER)
    owner_id = await users.find_id_by_email(db, tenant.id, identity.email)
    if owner_id is None:
        return None
    user = await users.lock_user(db, tenant.id, owner_id)
    if user.status == AccountStatus.INVITED:
        raise EmailNotVerified(_INVITED)
    if user.email != identity.email or user.email_verified_at is None:
        raise EmailNotVerified(_NOT_VERIFIED_IN_TESSERA)
    if await _is_linked(db, user, login.provider):
        raise LinkedElsewhere
    await _link(db, user, login)
    actor = Actor(ActorType.USER, user.id)
    record(db, IdentityLinked(at=tenant.now(), actor=actor, user_id=user.id, provider=login.provider))
    return user


async def _is_linked(db: AsyncSession, user: User, provider: str) -> bool:
    identities = select(ExternalIdentity.subject).where(
        ExternalIdentity.org_id == user.org_id,
        ExternalIdentity.user_id == user.id,
        ExternalIdentity.provider == provider,
    )
    return await db.scalar(identities.limit(1)) is not None


async def _create_user(db: AsyncSession, tenant: Tenant, login: ProviderLogin) -> User:
    identity, role = login.identity, login.role
    assert identity.email is not None
    try:
        refuse_lookalike_email(identity.email)
    except ValueError:
        raise EmailNotVerified(_LOOKALIKE) from None
    new = NewUser(identity.first_name, identity.last_name, identity.email)
    user = build_user(tenant.id, new, role, status_of_sign_up(role))
    user.email_verified_at = user.created_at
    await add_user(db, user, None)
    await _link(db, user, login)
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    record(
        db,
        UserSignedUp(at=at, actor=actor, user_id=user.id, role=role, status=user.status),
        EmailVerified(at=at, actor=actor, user_id=user.id),
    )
    return user


async def _link(db: AsyncSession, user: User, login: ProviderLogin) -> None:
    db.add(
        ExternalIdentity(
            org_id=user.org_id,
            provider=login.provider,
            subject=login.identity.subject,
            user_id=user.id,
            created_at=real_now(),
        )
    )
    with raise_on_violation(AccountLinkedConcurrently):
        await db.flush()


def issue_exchange_token(db: AsyncSession, secret_key: str, user: User, *, remember: bool) -> str:
    """Issue a token, valid for a minute, that `exchange` turns into a session.

    Args:
        remember: Whether the session lasts 30 days instead of one, unless `exchange` overrides it.
    """
    link = links.issue(db, user.org_id, user.id, user.email, LinkPurpose.SIGN_IN)
    link.remembered = remember
    return make_link_token(secret_key, link.org_id, link.id)


async def get_token_user(db: AsyncSession, subject: TokenSubject) -> tuple[User, bool]:
    """Return the user who may exchange a token, and whether they asked to be remembered at the start.

    Raises:
        LinkExpired: The token has expired or was used, or the user no longer exists.
        AccountPending, AccountRejected, AccountSuspended
    """
    link = await links.find(db, subject, LinkPurpose.SIGN_IN)
    try:
        user = await users.get_user(db, subject.org_id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    ensure_active(user)
    return user, link.remembered


async def exchange(
    db: AsyncSession,
    secret_key: str,
    subject: TokenSubject,
    client: ClientInfo,
    code: SubmittedCode,
    *,
    max_age: timedelta,
    remember: bool,
) -> SignedIn:
    """Open a session for a token's user and use up the token. A wrong second-factor code does not use it up.

    Raises:
        LinkExpired
        AccountPending, AccountRejected, AccountSuspended
        TotpRequired, WrongCodeAtSignIn
    """
    link = await links.find(db, subject, LinkPurpose.SIGN_IN)
    try:
        account = await lock_for_sign_in(db, link.org_id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    signed_in = await sign_in.sign_in(db, secret_key, account, client, code, max_age=max_age, remember=remember)
    await links.use(db, subject, LinkPurpose.SIGN_IN)  # after the user is locked: users are locked before links
    return signed_in
