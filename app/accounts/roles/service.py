"""Create, change and delete the custom roles of an organisation."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller, ensure_can_grant, ensure_freshly_authenticated
from app.access.errors import PrivilegeEscalation
from app.access.user_permissions import Permissions, RoleKind, amounts_to_admin, exceeds
from app.accounts.roles import queries, rules
from app.accounts.roles.errors import BuiltInRoleChanged, RoleInUse, RoleNameTaken, RoleNotFound, TooManyRoles
from app.accounts.roles.events import RoleCreated, RoleDeleted, RoleUpdated
from app.accounts.roles.models import Role
from app.core.clock import real_now
from app.core.database.violations import FOREIGN_KEY_VIOLATION, raise_on_violation
from app.core.errors import BadInput
from app.core.ids import new_id
from app.core.outbox.events import record
from app.organisations.queries import lock_organisation


@dataclass(frozen=True, kw_only=True)
class NewRole:
    """A role to create. Fields that are `None` are copied from the role `copy_of`, if it is given."""

    name: str
    kind: RoleKind | None = None
    copy_of: UUID | None = None
    permissions: Permissions | None = None


async def create(db: AsyncSession, caller: UserCaller, new: NewRole) -> Role:
    """Create a custom role.

    Raises:
        RoleNameTaken, TooManyRoles
        PrivilegeEscalation: The role would have permissions that the caller lacks, or a kind above the caller's.
        BadInput: The role to copy does not exist.
    """
    kind, permissions = await _choose_kind_and_permissions(db, caller.org_id, new)
    ensure_can_grant(caller, kind, permissions)
    await lock_organisation(db, caller.org_id)  # serialises the checks of name and number
    await _check_name(db, caller.org_id, new.name)
    if await queries.count_custom(db, caller.org_id) >= rules.MAX_ROLES:
        raise TooManyRoles
    now = real_now()
    role = Role(
        org_id=caller.org_id,
        id=new_id(),
        name=new.name,
        kind=kind,
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
            role=role.kind,
            permissions=role.permissions,
        ),
    )
    return role


async def change(
    db: AsyncSession, caller: UserCaller, role_id: UUID, *, name: str | None, permissions: Permissions | None
) -> Role:
    """Change a role's name or permissions, for all its users. Unchanged values are ignored.

    The organisation is locked, so that roles and permission overrides are not assigned concurrently.

    Raises:
        RoleNotFound, BuiltInRoleChanged, RoleNameTaken
        PrivilegeEscalation: The role has, or would have, permissions that the caller lacks; its kind is above the
            caller's; or it is the caller's own role, and would gain permissions.
        ReauthenticationRequired: The permissions change, the role amounts to an admin's before or after, and
            the caller's sign-in is not fresh.
    """
    await lock_organisation(db, caller.org_id)
    role = await _lock(db, caller, role_id)
    before = frozenset(role.permissions)
    after = before if permissions is None else permissions
    ensure_can_grant(caller, role.kind, before | after)
    if role_id == caller.user.role_id and exceeds(after, before):
        # Permission overrides of the caller can be revoked; they must not become permanent through the role.
        raise PrivilegeEscalation
    if (name in {None, role.name}) and after == before:
        return role
    if after != before and amounts_to_admin(role.kind, before | after):
        ensure_freshly_authenticated(caller)
    if name is not None and name != role.name:
        await _check_name(db, caller.org_id, name, except_id=role.id)
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
    """Delete a role that is not assigned to users.

    Raises:
        RoleNotFound, BuiltInRoleChanged, RoleInUse
        PrivilegeEscalation: The role has permissions that the caller lacks, or a kind above the caller's.
    """
    role = await _lock(db, caller, role_id)
    ensure_can_grant(caller, role.kind, frozenset(role.permissions))
    await db.delete(role)
    # This layer cannot read users, so a foreign key tells whether a user has the role.
    with raise_on_violation(RoleInUse, FOREIGN_KEY_VIOLATION):
        await db.flush()
    record(db, RoleDeleted(at=caller.now, actor=caller.actor, role_id=role.id, name=role.name))


async def _choose_kind_and_permissions(db: AsyncSession, org_id: UUID, new: NewRole) -> tuple[RoleKind, Permissions]:
    kind, permissions = new.kind, new.permissions
    if new.copy_of is not None:
        try:
            original = await queries.get_role(db, org_id, new.copy_of)
        except RoleNotFound:
            raise BadInput.of_field("copyOf", "There is no role with this id.") from None
        kind = kind or original.kind
        permissions = frozenset(original.permissions) if permissions is None else permissions
    return kind or RoleKind.ENGINEER, permissions or frozenset()


async def _lock(db: AsyncSession, caller: UserCaller, role_id: UUID) -> Role:
    if role_id in rules.BY_ID:
        raise BuiltInRoleChanged
    return await queries.lock(db, caller.org_id, role_id)


async def _check_name(db: AsyncSession, org_id: UUID, name: str, except_id: UUID | None = None) -> None:
    """Refuse the name of another role, ignoring case. The caller must hold the lock on the organisation."""
    others = await queries.list_names(db, org_id, except_id=except_id)
    if rules.is_built_in_name(name) or name.casefold() in {other.casefold() for other in others}:
        raise RoleNameTaken


async def _flush(db: AsyncSession) -> None:
    with raise_on_violation(RoleNameTaken):
        await db.flush()
