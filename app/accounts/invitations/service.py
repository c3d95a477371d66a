"""Invite users: an admin creates the account, and the user accepts the invitation by setting a password."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, ensure_can_grant, ensure_freshly_authenticated
from app.access.tenant import Tenant
from app.access.user_permissions import RoleKind, amounts_to_admin
from app.accounts.erasure.service import free_email
from app.accounts.invitations.errors import NotInvited
from app.accounts.roles import queries as roles
from app.accounts.roles.models import AnyRole
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.errors import LinkExpired
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users import queries as users
from app.accounts.users.availability import recording_availability
from app.accounts.users.creation import NewUser, add_user, build_user, hash_new_password
from app.accounts.users.errors import UserNotFound
from app.accounts.users.events import (
    EmailVerified,
    UserInvitationCancelled,
    UserInvited,
    UserJoined,
)
from app.accounts.users.models import Credential, User, UserWord
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import Actor, ActorType, ReactionOnly, record
from app.core.security.opaque_tokens import TokenSubject
from app.organisations.queries import lock_organisation


@dataclass(frozen=True, kw_only=True)
class NewInvitation:
    """A user to invite, with a built-in role (`role_kind`) or any role (`role_id`)."""

    user: NewUser
    role_kind: RoleKind | None
    role_id: UUID | None


# --- by an admin -----------------------------------------------------------------------------------------------------


async def invite(db: AsyncSession, caller: UserCaller, new: NewInvitation) -> tuple[User, Link]:
    """Create an account that cannot act yet, and mail a link with which its user sets a password.

    A sign-up that has the address, and never proved it, is erased.

    Raises:
        BadInput: there is no such role.
        PrivilegeEscalation: the role has permissions that the caller lacks, or a kind above the caller's.
        ReauthenticationRequired: the role amounts to an admin's, and the caller's sign-in is not fresh.
        EmailTaken
    """
    role = await _lock_role(db, caller.org_id, new)
    permissions = frozenset(role.permissions)
    ensure_can_grant(caller, role.kind, permissions)
    if amounts_to_admin(role.kind, permissions):
        ensure_freshly_authenticated(caller)
    await free_email(db, caller.org_id, new.user.email, at=caller.now, actor=caller.actor)
    user = build_user(caller.org_id, new.user, role.kind, AccountStatus.INVITED)
    user.assign_role(role)
    await add_user(db, user, password_hash=None)
    record(db, UserInvited(at=caller.now, actor=caller.actor, user_id=user.id, role=user.role_kind))
    return user, _send_link(db, caller, user)


async def get_invited(db: AsyncSession, caller: UserCaller, user_id: UUID) -> User:
    """Return a user with an open invitation.

    Raises:
        UserNotFound
        NotInvited
        PrivilegeEscalation: the user's role has permissions that the caller lacks, or a kind above the caller's.
    """
    return _ensure_can_manage_invitation(caller, await users.get_user(db, caller.org_id, user_id))


async def resend(db: AsyncSession, caller: UserCaller, user_id: UUID) -> tuple[User, Link]:
    """Mail another link, valid for the full lifetime from now on; earlier links stop working.

    Raises:
        UserNotFound, NotInvited, PrivilegeEscalation: see `get_invited`.
    """
    user = _ensure_can_manage_invitation(caller, await users.lock_user(db, caller.org_id, user_id))
    await links.cancel(db, caller.org_id, user.id, LinkPurpose.INVITATION)
    return user, _send_link(db, caller, user)


async def cancel(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Cancel an invitation: delete its account, so that the e-mail is free again.

    Raises:
        UserNotFound, NotInvited, PrivilegeEscalation: see `get_invited`.
    """
    user = _ensure_can_manage_invitation(caller, await users.lock_user(db, caller.org_id, user_id))
    for table in (Link, UserWord, Credential):
        await db.execute(delete(table).where(table.org_id == caller.org_id, table.user_id == user.id))
    await db.delete(user)
    email = ReactionOnly(user.email)
    record(db, UserInvitationCancelled(at=caller.now, actor=caller.actor, user_id=user.id, email=email))


async def _lock_role(db: AsyncSession, org_id: UUID, new: NewInvitation) -> AnyRole:
    if new.role_kind is not None:
        return BUILT_IN[new.role_kind]
    assert new.role_id is not None
    await lock_organisation(db, org_id, shared=True)  # the role's permissions do not change until this commits
    return await roles.lock_assignable(db, org_id, new.role_id)


def _ensure_can_manage_invitation(caller: UserCaller, user: User) -> User:
    if user.status != AccountStatus.INVITED:
        raise NotInvited
    ensure_can_grant(caller, user.role_kind, user.permissions)
    return user


def _send_link(db: AsyncSession, caller: UserCaller, user: User) -> Link:
    return links.send(db, caller.org_id, user.id, user.email, LinkPurpose.INVITATION, at=caller.now, actor=caller.actor)


# --- by the invited user ---------------------------------------------------------------------------------------------


async def accept(database: Database, secret_key: str, token: str, password: str) -> User:
    """Set the password of an invited user's account and make it active. It does not sign the user in.

    Only a person who can read mail sent to the address has the link, so accepting also verifies the address. A refused
    password does not use up the link.

    Raises:
        LinkExpired: also if the invitation was accepted, replaced or cancelled.
        WeakPassword
        Busy
    """
    subject = links.parse_token(secret_key, token)
    async with database.session(subject.org_id) as db:
        link = await links.find(db, subject, LinkPurpose.INVITATION)
        tenant = await links.get_tenant(db, link)
        try:
            user = await users.get_user(db, subject.org_id, link.user_id)
        except UserNotFound:
            raise LinkExpired from None
        _ensure_can_accept(user, link)
    password_hash = await hash_new_password(
        secret_key, tenant, password, user.first_name, user.last_name, email=user.email
    )
    async with database.session(subject.org_id) as db:
        return await _activate(db, tenant, link, password_hash)


async def _activate(db: AsyncSession, tenant: Tenant, link: Link, password_hash: str) -> User:
    try:
        user = await users.lock_user(db, tenant.id, link.user_id)
    except UserNotFound:
        raise LinkExpired from None
    _ensure_can_accept(user, link)
    await links.use(db, TokenSubject(tenant.id, link.id), LinkPurpose.INVITATION)
    await db.execute(
        update(Credential)
        .where(Credential.org_id == tenant.id, Credential.user_id == user.id)
        .values(password_hash=password_hash)
    )
    at, actor = tenant.now(), Actor(ActorType.USER, user.id)
    with recording_availability(db, user, at=at, actor=actor):
        user.activate()
        user.email_verified_at = real_now()
        record(
            db,
            UserJoined(at=at, actor=actor, user_id=user.id),
            EmailVerified(at=at, actor=actor, user_id=user.id),
        )
    return user


def _ensure_can_accept(user: User, link: Link) -> None:
    # The hash is salted with the e-mail address, so the address must still be the one that the link was sent to.
    if user.status != AccountStatus.INVITED or user.email != link.email:
        raise LinkExpired
