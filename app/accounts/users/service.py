"""What admins do with the users of their organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Principal, UserCaller, ensure_can_grant, ensure_freshly_authenticated
from app.access.errors import PrivilegeEscalation
from app.access.user_permissions import Permissions, RoleKind, amounts_to_admin, exceeds
from app.accounts.roles import queries as roles
from app.accounts.roles.models import AnyRole
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import queries, rules
from app.accounts.users.availability import recording_availability
from app.accounts.users.errors import EmailNotVerified, LastAdmin, NotActiveYet, NotPending, UserNotFound
from app.accounts.users.events import (
    UserApproved,
    UserPermissionsChanged,
    UserReactivated,
    UserRejected,
    UserRoleChanged,
    UserSuspended,
)
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.outbox.events import Actor, record
from app.core.security.access_tokens import InvalidToken
from app.organisations.queries import lock_organisation

OWN_PERMISSIONS_MESSAGE = "You cannot give yourself more permissions: ask another admin."
_UNPROVED_MESSAGE = (
    "The user who signed up with this e-mail has not shown that it is theirs. Ask them to follow the link in the mail "
    "(POST /auth/email/resend mails another), or invite the address with POST /users, which replaces a sign-up that "
    "waits for approval or a customer."
)


@dataclass(frozen=True, kw_only=True)
class UserChanges:
    """Changes to a user. `None` leaves a field as it is."""

    role_kind: RoleKind | None = None
    status: AccountStatus | None = None
    available: bool | None = None


@asynccontextmanager
async def changing_user(db: AsyncSession, caller: UserCaller, user_id: UUID) -> AsyncIterator[User]:
    """Yield a user, locked so that the block can change them, and check the result at the end.

    Raises:
        UserNotFound
        PrivilegeEscalation: the user has permissions that the caller lacks or a kind of role above the caller's,
            before or after the change.
        LastAdmin: the organisation would have no full admin left.
        ReauthenticationRequired: the user amounts to an admin before or after the change, which concerns their
            rights, and the caller's sign-in is not fresh.
        InvalidToken: the caller has lost permissions to a concurrent change.
    """
    me = caller.user
    await lock_organisation(db, caller.org_id, shared=True)  # no role changes until this commits
    users = await queries.lock_with_admins(db, caller.org_id, me.id, user_id)
    user, my_row = users.get(user_id), users.get(me.id)
    if user is None:
        raise UserNotFound
    if user_id != me.id:
        ensure_can_grant(caller, user.role_kind, user.permissions)
    caller_is_unchanged = my_row is not None and _has_all_rights_of(my_row, me)
    was_full_admin, rights_before = is_full_admin(user), _read_rights(user)

    with recording_availability(db, user, at=caller.now, actor=caller.actor):
        yield user

    # In this order: of two admins who demote each other, the second learns that they are the last one.
    if was_full_admin and not any(is_full_admin(other) for other in users.values()):
        raise LastAdmin
    if not caller_is_unchanged:
        raise InvalidToken
    rights_after = _read_rights(user)
    if rights_before != rights_after and any(
        amounts_to_admin(*rights) for rights in (rights_before, rights_after) if rights
    ):
        ensure_freshly_authenticated(caller)
    if user.status != AccountStatus.ERASED:
        ensure_can_grant(caller, user.role_kind, user.permissions)


def _has_all_rights_of(user: User, principal: Principal) -> bool:
    return (
        user.status == AccountStatus.ACTIVE
        and not principal.role_kind.outranks(user.role_kind)
        and principal.permissions <= user.permissions
    )


def _read_rights(user: User) -> tuple[RoleKind, Permissions] | None:
    """Return what a user may do; `None` if the account is not active."""
    return (user.role_kind, user.permissions) if user.status == AccountStatus.ACTIVE else None


def is_full_admin(user: User) -> bool:
    """Return whether a user has every permission: see `rules.is_full_admin`."""
    return rules.is_full_admin(role_kind=user.role_kind, role_id=user.role_id, status=user.status, denied=user.denied)


async def change(db: AsyncSession, caller: UserCaller, user_id: UUID, changes: UserChanges) -> User:
    """Give a user a built-in role, suspend or reactivate them, or switch whether they are available.

    Raises:
        CustomerNotAvailable
        NotActiveYet: the account was never active.
        EmailNotVerified: the role allows more than the present one.
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        if changes.role_kind is not None:
            await _assign_role(db, caller, user, BUILT_IN[changes.role_kind])
        if changes.available is not None:
            user.set_available(changes.available)
            if changes.available and user.status not in rules.SETTLED:
                raise NotActiveYet(user.status)
        if changes.status is not None and changes.status != user.status:
            await _change_status(db, caller, user, changes.status)
    return user


async def _change_status(db: AsyncSession, caller: UserCaller, user: User, status: AccountStatus) -> None:
    if user.status not in rules.SETTLED:
        raise NotActiveYet(user.status)
    if status is AccountStatus.ACTIVE:
        user.status = status
        record(db, UserReactivated(at=caller.now, actor=caller.actor, user_id=user.id))
        return
    await suspend_locked(db, user, at=caller.now, actor=caller.actor)


async def suspend_locked(db: AsyncSession, user: User, *, at: datetime, actor: Actor) -> None:
    """Suspend a locked user, who is not the last full admin.

    Args:
        at: the organisation's time.
    """
    user.status = AccountStatus.SUSPENDED
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.SIGN_IN)
    record(db, UserSuspended(at=at, actor=actor, user_id=user.id))


async def _ensure_address_is_not_anothers(db: AsyncSession, user: User) -> None:
    """Refuse to trust an account whose owner only claims to own its e-mail: an outsider may have made it.

    Of an account that an admin or a product made, they chose the address themselves.

    Raises:
        EmailNotVerified
    """
    if user.email_verified_at is None and await queries.signed_up_on_their_own(db, user):
        raise EmailNotVerified(_UNPROVED_MESSAGE)


async def _assign_role(db: AsyncSession, caller: UserCaller, user: User, role: AnyRole) -> None:
    """Assign a role, unless the user has it already; permission overrides stay.

    The caller needs all permissions of the role, even those that are denied to the user: the denial may be lifted.
    Callers cannot give themselves a role that allows more than their present one: their own grants may be revoked.

    Raises:
        PrivilegeEscalation
        EmailNotVerified: the role allows more than the present one.
    """
    if user.effective_role_id == role.id:
        return
    permissions = frozenset(role.permissions)
    ensure_can_grant(caller, role.kind, permissions)
    if user.id == caller.user.id and exceeds(permissions, user.role_permissions):
        raise PrivilegeEscalation(OWN_PERMISSIONS_MESSAGE)
    if role.kind.outranks(user.role_kind) or exceeds(permissions, user.role_permissions):
        await _ensure_address_is_not_anothers(db, user)
    record(
        db,
        UserRoleChanged(
            at=caller.now,
            actor=caller.actor,
            user_id=user.id,
            from_role=user.role_kind,
            to_role=role.kind,
            from_role_id=user.effective_role_id,
            to_role_id=role.id,
        ),
    )
    user.assign_role(role)


async def approve(db: AsyncSession, caller: UserCaller, user_id: UUID) -> User:
    """Make the account of a user who signed up active, even if it was rejected before.

    Raises:
        NotPending
        UserNotFound, PrivilegeEscalation, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        if user.status not in rules.APPROVABLE:
            raise NotPending
        user.activate()
        record(db, UserApproved(at=caller.now, actor=caller.actor, user_id=user.id))
    return user


async def reject(db: AsyncSession, caller: UserCaller, user_id: UUID, reason: str | None) -> User:
    """Reject the account of a user who signed up.

    Raises:
        NotPending
        UserNotFound, PrivilegeEscalation, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        if user.status != AccountStatus.PENDING:
            raise NotPending
        user.status, user.status_reason = AccountStatus.REJECTED, reason
        record(db, UserRejected(at=caller.now, actor=caller.actor, user_id=user.id))
    return user


async def set_role(db: AsyncSession, caller: UserCaller, user_id: UUID, role_id: UUID) -> User:
    """Give a user a role, built-in or custom.

    Raises:
        BadInput: there is no such role.
        EmailNotVerified: the role allows more than the present one.
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        await _assign_role(db, caller, user, await roles.lock_assignable(db, caller.org_id, role_id))
    return user


async def set_permissions(
    db: AsyncSession, caller: UserCaller, user_id: UUID, granted: Permissions, denied: Permissions
) -> User:
    """Replace the permissions that a user is granted and denied on top of the role.

    Raises:
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `changing_user`.
    """
    async with changing_user(db, caller, user_id) as user:
        before, after = (user.granted, user.denied), (sorted(granted), sorted(denied))
        if user_id == caller.user.id and rules.can_raise_permissions(before, after):
            raise PrivilegeEscalation(OWN_PERMISSIONS_MESSAGE)
        if before != after:
            user.set_permission_overrides(granted, denied)
            record(
                db,
                UserPermissionsChanged(
                    at=caller.now, actor=caller.actor, user_id=user.id, granted=user.granted, denied=user.denied
                ),
            )
    return user
