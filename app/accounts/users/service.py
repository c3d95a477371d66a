"""What admins do with the users of their organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Principal, UserCaller, ensure_can_grant
from app.access.errors import PrivilegeEscalation
from app.access.permissions import Permissions, RoleKind, exceeds
from app.accounts.erasure import service as erasure
from app.accounts.profiles.service import CustomerNotAvailable
from app.accounts.roles import queries as roles
from app.accounts.roles.queries import AnyRole
from app.accounts.roles.rules import BUILT_IN
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users import lists as queries
from app.accounts.users import rights as rules
from app.accounts.users.events import (
    UserApproved,
    UserBecameAvailable,
    UserBecameUnavailable,
    UserErased,
    UserPermissionsChanged,
    UserReactivated,
    UserRejected,
    UserRoleChanged,
    UserSuspended,
)
from app.accounts.users.models import User
from app.accounts.users.queries import UserNotFound
from app.accounts.users.rules import AccountStatus
from app.authentication.second_factor import service as second_factor
from app.authentication.second_factor.errors import SecondFactorNotSetUp
from app.authentication.second_factor.events import SecondFactorDisabled
from app.authentication.sessions import service as sessions
from app.core.errors import Conflict
from app.core.outbox.events import ReactionOnly, record
from app.core.security.access_tokens import InvalidToken
from app.organisations.queries import lock as lock_organisation


class LastAdmin(Conflict):
    """Without them, nobody could give anybody every right again: they have the built-in role, and nothing denied."""

    code = "last_admin"
    title = (
        "This is the organisation's last active admin of the built-in role Admin with nothing denied: make somebody "
        "else one first."
    )


class NotPending(Conflict):
    """There is no sign-up to decide about."""

    code = "not_pending"
    title = "This account does not wait for approval."


class NotActiveYet(Conflict):
    """The account has never been active, so that it can be neither suspended nor reactivated."""

    code = "not_active_yet"
    title = "This account is not active yet: it is to be approved, or its invitation to be accepted, first."

    def __init__(self, status: str) -> None:
        super().__init__(_NOT_ACTIVE_YET[status])


THEIR_OWN_SECOND_FACTOR = "Of your own second factor, you are to show a code: POST /auth/2fa/disable."
NO_ONE_RAISES_THEIR_OWN = "Nobody raises their own rights: another admin can."
_NOT_ACTIVE_YET: Mapping[str, str] = {
    AccountStatus.PENDING: (
        "Nobody has approved this account yet: POST /users/{id}/approve does, or POST /users/{id}/reject."
    ),
    AccountStatus.REJECTED: "This account was rejected: POST /users/{id}/approve makes it active after all.",
    AccountStatus.INVITED: "The invitation is still open: the account becomes active when its user accepts it.",
}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is to change about somebody; nothing, where nothing is said."""

    role: RoleKind | None = None
    status: AccountStatus | None = None
    available: bool | None = None


@asynccontextmanager
async def _changing(db: AsyncSession, caller: UserCaller, user_id: UUID) -> AsyncIterator[User]:
    """Somebody, locked so that they can be changed; what came of it is checked at the end.

    Raises:
        UserNotFound
        PrivilegeEscalation: they have permissions that the caller has not, or are above them; or would be afterwards.
        LastAdmin: afterwards the organisation would have no full admin.
        InvalidToken: somebody else, who was quicker, has taken rights from the caller.
    """
    me = caller.user
    await lock_organisation(db, caller.org_id, shared=True)  # what follows from a role stays true until this commits
    users = await queries.lock_with_admins(db, caller.org_id, me.id, user_id)
    user, actor = users.get(user_id), users.get(me.id)
    if user is None:
        raise UserNotFound
    if user_id != me.id:
        ensure_can_grant(caller, user.role, user.permissions)
    is_still_allowed = actor is not None and _is_still(actor, me)
    was_admin, took_tickets = _is_full_admin(user), user.takes_tickets

    yield user

    # In this order, so that of two admins who take each other's place away, the second is told that they are the last.
    if was_admin and not any(_is_full_admin(other) for other in users.values()):
        raise LastAdmin
    if not is_still_allowed:
        raise InvalidToken
    if user.status == AccountStatus.ERASED:
        return
    ensure_can_grant(caller, user.role, user.permissions)
    if user.takes_tickets and not took_tickets:
        record(db, UserBecameAvailable(at=caller.now, actor=caller.actor, user_id=user.id))
    elif took_tickets and user.may_be_assigned and not user.available:
        record(db, UserBecameUnavailable(at=caller.now, actor=caller.actor, user_id=user.id))


def _is_still(actor: User, me: Principal) -> bool:
    """Whether somebody has all the rights that they came with."""
    return (
        actor.status == AccountStatus.ACTIVE
        and not me.role_kind.outranks(actor.role)
        and me.permissions <= actor.permissions
    )


def _is_full_admin(user: User) -> bool:
    return rules.is_full_admin(role=user.role, role_id=user.role_id, status=user.status, denied=user.denied)


async def change(db: AsyncSession, caller: UserCaller, user_id: UUID, wanted: Changes) -> User:
    """Change somebody's role to a built-in one, suspend or reactivate them, have tickets go to them or not.

    Raises:
        CustomerNotAvailable
        NotActiveYet: they were never active, so there is nothing to suspend or lift, and no ticket can be theirs.
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        if wanted.role is not None:
            _give_role(db, caller, user, BUILT_IN[wanted.role])
        if wanted.available is not None:
            _check_available(user, wanted_available=wanted.available)
            user.available = wanted.available
        if wanted.status is not None and wanted.status != user.status:
            await _change_status(db, caller, user, wanted.status)
    return user


def _check_available(user: User, *, wanted_available: bool) -> None:
    if wanted_available and user.role == RoleKind.CUSTOMER:
        raise CustomerNotAvailable
    if wanted_available and user.status not in rules.SETTLED:
        raise NotActiveYet(user.status)


async def _change_status(db: AsyncSession, caller: UserCaller, user: User, status: AccountStatus) -> None:
    if user.status not in rules.SETTLED:
        raise NotActiveYet(user.status)
    user.status = status
    if status is AccountStatus.ACTIVE:
        record(db, UserReactivated(at=caller.now, actor=caller.actor, user_id=user.id))
        return
    await sessions.end_sessions(db, user.org_id, user.id)
    await links.cancel(db, user.org_id, user.id, LinkPurpose.RESET_PASSWORD, LinkPurpose.SIGN_IN)
    record(db, UserSuspended(at=caller.now, actor=caller.actor, user_id=user.id))


def _give_role(db: AsyncSession, caller: UserCaller, user: User, role: AnyRole) -> None:
    """Give somebody a role, which they may have already; what they are granted and denied on top of it stays.

    The giver needs all that the role gives by itself, since a denial that takes some of it away may be lifted. Nobody
    gives themselves a role with more than their present one: what they were granted besides it may be taken back.

    Raises:
        PrivilegeEscalation
    """
    if user.effective_role_id == role.id:
        return
    permissions = frozenset(role.permissions)
    ensure_can_grant(caller, role.role, permissions)
    if user.id == caller.user.id and exceeds(permissions, user.role_permissions):
        raise PrivilegeEscalation(NO_ONE_RAISES_THEIR_OWN)
    record(
        db,
        UserRoleChanged(
            at=caller.now,
            actor=caller.actor,
            user_id=user.id,
            from_role=user.role,
            to_role=role.role,
            from_role_id=user.effective_role_id,
            to_role_id=role.id,
        ),
    )
    user.assign_role(role)
    if user.role == RoleKind.CUSTOMER:
        user.available = False


async def approve(db: AsyncSession, caller: UserCaller, user_id: UUID) -> User:
    """Let somebody in who signed up, even if they were rejected before; tickets may go to them at once.

    Raises:
        NotPending
        UserNotFound, PrivilegeEscalation, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        if user.status not in rules.APPROVABLE:
            raise NotPending
        user.status, user.status_reason = AccountStatus.ACTIVE, None
        user.available = user.role != RoleKind.CUSTOMER
        record(db, UserApproved(at=caller.now, actor=caller.actor, user_id=user.id))
    return user


async def reject(db: AsyncSession, caller: UserCaller, user_id: UUID, reason: str | None) -> User:
    """Turn somebody away who signed up.

    Raises:
        NotPending
        UserNotFound, PrivilegeEscalation, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        if user.status != AccountStatus.PENDING:
            raise NotPending
        user.status, user.status_reason = AccountStatus.REJECTED, reason
        record(db, UserRejected(at=caller.now, actor=caller.actor, user_id=user.id))
    return user


async def set_role(db: AsyncSession, caller: UserCaller, user_id: UUID, role_id: UUID) -> User:
    """Give somebody a role, built in or the organisation's own.

    Raises:
        UnknownRole
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        _give_role(db, caller, user, await roles.lock_assignable(db, caller.org_id, role_id))
    return user


async def set_permissions(
    db: AsyncSession, caller: UserCaller, user_id: UUID, granted: Permissions, denied: Permissions
) -> User:
    """Replace what somebody is granted and denied on top of their role.

    Raises:
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        before, after = (user.granted, user.denied), (sorted(granted), sorted(denied))
        if user_id == caller.user.id and rules.raises(before, after):
            raise PrivilegeEscalation(NO_ONE_RAISES_THEIR_OWN)
        if before != after:
            user.set_permission_overrides(granted, denied)
            record(
                db,
                UserPermissionsChanged(
                    at=caller.now, actor=caller.actor, user_id=user.id, granted=user.granted, denied=user.denied
                ),
            )
    return user


async def reset_second_factor(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Let somebody in by their password alone, who has lost their authenticator and recovery codes, and sign them out.

    Raises:
        SecondFactorNotSetUp
        UserNotFound, PrivilegeEscalation, InvalidToken: see `_changing`. Nobody resets their own.
    """
    async with _changing(db, caller, user_id) as user:
        if user_id == caller.user.id:
            raise PrivilegeEscalation(THEIR_OWN_SECOND_FACTOR)
        if not user.second_factor:
            raise SecondFactorNotSetUp("They have no second factor.")
        await second_factor.remove(db, user)
        await sessions.end_sessions(db, user.org_id, user.id)
        await links.cancel(db, user.org_id, user.id, LinkPurpose.SIGN_IN)
        record(db, SecondFactorDisabled(at=caller.now, actor=caller.actor, user_id=user.id))


async def erase(db: AsyncSession, caller: UserCaller, user_id: UUID) -> None:
    """Delete all that is personal about somebody. Their row stays, and says only that there was somebody.

    Raises:
        UserNotFound, PrivilegeEscalation, LastAdmin, InvalidToken: see `_changing`.
    """
    async with _changing(db, caller, user_id) as user:
        record(
            db,
            UserErased(
                at=caller.now,
                actor=caller.actor,
                user_id=user.id,
                name=ReactionOnly(f"{user.first_name} {user.last_name}"),
                email=ReactionOnly(user.email),
                email_was_verified=ReactionOnly(user.email_verified_at is not None),
            ),
        )
        await erasure.erase(db, user)
