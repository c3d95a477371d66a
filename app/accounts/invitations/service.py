"""Invitations: an account that an admin makes, and that is its user's once they have set a password."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, ensure_can_grant
from app.access.permissions import RoleKind
from app.access.tenant import Tenant
from app.accounts.roles import queries as roles
from app.accounts.roles.queries import AnyRole
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.single_use_links.service import LinkExpired
from app.accounts.users import creation as users_service
from app.accounts.users import queries as users
from app.accounts.users.creation import NewUser
from app.accounts.users.events import (
    EmailVerified,
    UserBecameAvailable,
    UserInvitationCancelled,
    UserInvited,
    UserJoined,
)
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.errors import Conflict
from app.core.outbox.events import Actor, ActorType, ReactionOnly, record
from app.core.security.opaque_tokens import TokenSubject
from app.organisations.queries import lock as lock_organisation


class NotInvited(Conflict):
    """There is no invitation that waits for its user."""

    code = "not_invited"
    title = "This user has no open invitation: they have an account already."


@dataclass(frozen=True, kw_only=True)
class NewInvitation:
    """Whom to invite, as what: `role` names a built-in role, `role_id` any."""

    user: NewUser
    role: RoleKind | None
    role_id: UUID | None


# --- by an admin -----------------------------------------------------------------------------------------------------


async def invite(db: AsyncSession, caller: UserCaller, new: NewInvitation) -> tuple[User, Link]:
    """Make an account that cannot act yet, and have a link mailed with which its user sets a password.

    Raises:
        UnknownRole
        PrivilegeEscalation: it would have permissions that the caller lacks, or be above them.
        EmailTaken: somebody of the organisation has it, whatever their status.
    """
    role = await _role(db, caller.org_id, new)
    ensure_can_grant(caller, role.role, frozenset(role.permissions))
    user = users_service.newcomer(caller.org_id, new.user, role.role, AccountStatus.INVITED)
    user.assign_role(role)
    await users_service.add(db, user, None)
    record(db, UserInvited(at=caller.now, actor=caller.actor, user_id=user.id, role=user.role))
    return user, _send_link(db, caller, user)


async def invited(db: AsyncSession, caller: UserCaller, user_id: UUID) -> User:
    """Somebody whose invitation waits for them.

    Raises:
        UserNotFound
        NotInvited
        PrivilegeEscalation: they are to have permissions that the caller lacks, or to be above them.
    """
    return _check_invited(caller, await users.user(db, caller.org_id, user_id))


async def resend(db: AsyncSession, caller: UserCaller, user_id: UUID) -> tuple[User, Link]:
    """Have another link mailed, for as long again; earlier ones lead nowhere.

    Raises:
        UserNotFound, NotInvited, PrivilegeEscalation: as `invited`.
    """
    user = _check_invited(caller, await users.lock(db, caller.org_id, user_id))
    await links.cancel(db, caller.org_id, user.id, LinkPurpose.INVITATION)
    return user, _send_link(db, caller, user)


async def cancel(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Take an invitation back: of its account nothing is left, and the e-mail is free again.

    Raises:
        UserNotFound, NotInvited, PrivilegeEscalation: as `invited`.
    """
    user = _check_invited(caller, await users.lock(db, caller.org_id, user_id))
    for what in (Link, UserWord, Credential):
        await db.execute(delete(what).where(what.org_id == caller.org_id, what.user_id == user.id))
    await db.delete(user)
    email = ReactionOnly(user.email)
    record(db, UserInvitationCancelled(at=caller.now, actor=caller.actor, user_id=user.id, email=email))


async def _role(db: AsyncSession, org_id: UUID, new: NewInvitation) -> AnyRole:
    if new.role is not None:
        return BUILT_IN[new.role]
    assert new.role_id is not None
    await lock_organisation(db, org_id, shared=True)  # so that what follows from the role is still true at the end
    return await roles.lock_assignable(db, org_id, new.role_id)


def _check_invited(caller: UserCaller, user: User) -> User:
    if user.status != AccountStatus.INVITED:
        raise NotInvited
    ensure_can_grant(caller, user.role, user.permissions)
    return user


def _send_link(db: AsyncSession, caller: UserCaller, user: User) -> Link:
    return links.send(db, caller.org_id, user.id, user.email, LinkPurpose.INVITATION, at=caller.now, actor=caller.actor)


# --- by whoever was invited ------------------------------------------------------------------------------------------


async def accept(database: Database, secret_key: str, token: str, password: str) -> User:
    """Set the password of an invited user's account, with which it is active; nobody is signed in by this.

    Whoever has the link reads the mails of its address, so that is verified with it. The link is used up only by a
    password that will do.

    Raises:
        LinkExpired: or the invitation was accepted, replaced or taken back.
        WeakPassword
        Busy
    """
    named = links.read(secret_key, token)
    async with database.session(named.org_id) as db:
        link = await links.find(db, named, LinkPurpose.INVITATION)
        tenant = await links.tenant_of(db, link)
        try:
            user = await users.user(db, named.org_id, link.user_id)
        except UserNotFound:
            raise LinkExpired from None
        _check_may_join(user, link)
    password_hash = await users_service.hash_new_password(
        secret_key, tenant, password, user.first_name, user.last_name, email=user.email
    )
    async with database.session(named.org_id) as db:
        return await _join(db, tenant, link, password_hash)


async def _join(db: AsyncSession, tenant: Tenant, link: Link, password_hash: str) -> User:
    try:
        user = await users.lock(db, tenant.id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    _check_may_join(user, link)
    await links.use(db, TokenSubject(tenant.id, link.id), LinkPurpose.INVITATION)
    await db.execute(
        update(Credential)
        .where(Credential.org_id == tenant.id, Credential.user_id == user.id)
        .values(password_hash=password_hash)
    )
    user.status = AccountStatus.ACTIVE
    user.email_verified_at = real_now()
    user.available = user.role != RoleKind.CUSTOMER
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    record(
        db,
        UserJoined(at=at, actor=actor, user_id=user.id),
        EmailVerified(at=at, actor=actor, user_id=user.id),
    )
    if user.takes_tickets:
        record(db, UserBecameAvailable(at=at, actor=actor, user_id=user.id))
    return user


def _check_may_join(user: User, link: Link) -> None:
    # The hash's salt is made of the e-mail, which must be the one that the link was sent to.
    if user.status != AccountStatus.INVITED or user.email != link.email:
        raise LinkExpired
