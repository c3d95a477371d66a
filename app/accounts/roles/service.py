"""Roles: making, changing and deleting those that an organisation has for itself."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, ensure_can_grant
from app.access.errors import PrivilegeEscalation
from app.access.permissions import Permissions, RoleKind, exceeds
from app.accounts.roles import queries, rules
from app.accounts.roles.events import RoleCreated, RoleDeleted, RoleUpdated
from app.accounts.roles.models import CustomRole
from app.accounts.roles.queries import RoleNotFound
from app.core.clock import real_now
from app.core.database.violations import FOREIGN_KEY_VIOLATION, raise_on_violation
from app.core.errors import BadInput, Conflict, FieldError
from app.core.ids import new_id
from app.core.outbox.events import record
from app.organisations.queries import lock as lock_organisation

MAX_ROLES = 200


class BuiltInRoleChanged(Conflict):
    """Built-in roles are the same everywhere, and for ever."""

    code = "built_in_role"
    title = "A built-in role cannot be changed or deleted: copy it, and change the copy."


class RoleNameTaken(Conflict):
    """Another role has this name."""

    code = "role_name_taken"
    title = "Another role, of the organisation or built in, has this name."


class RoleInUse(Conflict):
    """Somebody has this role."""

    code = "role_in_use"
    title = "Somebody has this role: give them another one first."


class TooManyRoles(Conflict):
    """The organisation has as many roles as it may."""

    code = "too_many_roles"
    title = f"An organisation can have {MAX_ROLES} roles of its own at most."


@dataclass(frozen=True, kw_only=True)
class NewRole:
    """A role to be made. What is not said is taken from the role `copy_of`, if one is named."""

    name: str
    role: RoleKind | None = None
    copy_of: UUID | None = None
    permissions: Permissions | None = None


async def create(db: AsyncSession, caller: UserCaller, new: NewRole) -> CustomRole:
    """Make a role.

    Raises:
        RoleNameTaken, TooManyRoles
        PrivilegeEscalation: it would have permissions that its maker lacks, or be of a kind above theirs.
        BadInput: there is no role to copy.
    """
    kind, permissions = await _kind_and_permissions(db, caller.org_id, new)
    ensure_can_grant(caller, kind, permissions)
    await lock_organisation(db, caller.org_id)  # so that two at once are counted and named one after the other
    await _check_name(db, caller.org_id, new.name)
    if await queries.count(db, caller.org_id) >= MAX_ROLES:
        raise TooManyRoles
    now = real_now()
    role = CustomRole(
        org_id=caller.org_id,
        id=new_id(),
        name=new.name,
        role=kind,
        permissions=sorted(permissions),
        created_at=now,
        updated_at=now,
    )
    db.add(role)
    await _flush(db)
    record(
        db,
        RoleCreated(
            at=caller.now,
            actor=caller.actor,
            role_id=role.id,
            name=role.name,
            role=role.role,
            permissions=role.permissions,
        ),
    )
    return role


async def change(
    db: AsyncSession, caller: UserCaller, role_id: UUID, *, name: str | None, permissions: Permissions | None
) -> CustomRole:
    """Change a role's name or permissions, for everybody who has it; the same values again change nothing.

    The organisation is locked, so that nobody is given the role, or anything besides it, meanwhile.

    Raises:
        RoleNotFound, BuiltInRoleChanged, RoleNameTaken
        PrivilegeEscalation: it has, or would have, permissions that the caller lacks, or is of a kind above theirs;
            or it is their own, and would gain.
    """
    await lock_organisation(db, caller.org_id)
    role = await _lock(db, caller, role_id)
    before = frozenset(role.permissions)
    after = before if permissions is None else permissions
    ensure_can_grant(caller, role.role, before | after)
    if role_id == caller.user.role_id and exceeds(after, before):
        # What they were granted besides it, and may lose again, is not to become theirs for good.
        raise PrivilegeEscalation
    if (name in {None, role.name}) and after == before:
        return role
    if name is not None and name != role.name:
        await _check_name(db, caller.org_id, name, but=role.id)
        role.name = name
    role.permissions = sorted(after)
    role.updated_at = real_now()
    await _flush(db)
    record(
        db,
        RoleUpdated(
            at=caller.now,
            actor=caller.actor,
            role_id=role.id,
            name=role.name,
            added=sorted(after - before),
            removed=sorted(before - after),
        ),
    )
    return role


async def delete(db: AsyncSession, caller: UserCaller, role_id: UUID) -> None:
    """Delete a role that nobody has.

    Raises:
        RoleNotFound, BuiltInRoleChanged, RoleInUse
        PrivilegeEscalation: it has permissions that the caller lacks, or is of a kind above theirs.
    """
    role = await _lock(db, caller, role_id)
    ensure_can_grant(caller, role.role, frozenset(role.permissions))
    await db.delete(role)
    # Users stand above roles: only the database knows here whether a user has this one.
    with raise_on_violation(RoleInUse, FOREIGN_KEY_VIOLATION):
        await db.flush()
    record(db, RoleDeleted(at=caller.now, actor=caller.actor, role_id=role.id, name=role.name))


async def _kind_and_permissions(db: AsyncSession, org_id: UUID, new: NewRole) -> tuple[RoleKind, Permissions]:
    kind, permissions = new.role, new.permissions
    if new.copy_of is not None:
        try:
            original = await queries.role(db, org_id, new.copy_of)
        except RoleNotFound:
            raise BadInput(errors=[FieldError("copyOf", "There is no such role.")]) from None
        kind = kind or original.role
        permissions = frozenset(original.permissions) if permissions is None else permissions
    return kind or RoleKind.ENGINEER, permissions or frozenset()


async def _lock(db: AsyncSession, caller: UserCaller, role_id: UUID) -> CustomRole:
    if role_id in rules.BY_ID:
        raise BuiltInRoleChanged
    return await queries.lock(db, caller.org_id, role_id)


async def _check_name(db: AsyncSession, org_id: UUID, name: str, but: UUID | None = None) -> None:
    """Refuse the name of another role, in whatever case; the organisation is locked meanwhile."""
    others = await queries.names(db, org_id, but=but)
    if rules.is_built_in_name(name) or name.casefold() in {other.casefold() for other in others}:
        raise RoleNameTaken


async def _flush(db: AsyncSession) -> None:
    with raise_on_violation(RoleNameTaken):
        await db.flush()
