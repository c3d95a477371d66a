"""Queries of roles. Built-in roles are not rows: they are defined in `rules.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.roles.errors import RoleNotFound
from app.accounts.roles.models import AnyRole, Role
from app.accounts.roles.rules import BY_ID
from app.core.errors import BadInput


async def get_role(db: AsyncSession, org_id: UUID, role_id: UUID) -> AnyRole:
    """Return a role, built-in or custom.

    Raises:
        RoleNotFound
    """
    found = BY_ID.get(role_id) or await db.scalar(select(Role).where(Role.org_id == org_id, Role.id == role_id))
    if found is None:
        raise RoleNotFound
    return found


async def lock_assignable(db: AsyncSession, org_id: UUID, role_id: UUID) -> AnyRole:
    """Return a role to assign, and lock it against deletion until the transaction ends.

    Raises:
        BadInput: there is no such role.
    """
    found = BY_ID.get(role_id) or await db.scalar(
        select(Role).where(Role.org_id == org_id, Role.id == role_id).with_for_update(read=True, key_share=True)
    )
    if found is None:
        raise BadInput.of_field("roleId", "There is no role with this id.")
    return found


async def lock(db: AsyncSession, org_id: UUID, role_id: UUID) -> Role:
    """Return a custom role, locked until the transaction ends.

    Raises:
        RoleNotFound
    """
    found = await db.scalar(
        select(Role)
        .where(Role.org_id == org_id, Role.id == role_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise RoleNotFound
    return found


async def list_page(db: AsyncSession, org_id: UUID, *, after: UUID | None, limit: int) -> Sequence[AnyRole]:
    """List the roles after the role `after`: custom roles, newest first, then built-in ones.

    Descending ids give this order, because ids of built-in roles are smaller than all generated ones.
    """
    statement = select(Role).where(Role.org_id == org_id).order_by(Role.id.desc()).limit(limit)
    custom = (await db.scalars(statement if after is None else statement.where(Role.id < after))).all()
    roles: list[AnyRole] = list(custom)
    roles += [BY_ID[role_id] for role_id in sorted(BY_ID, reverse=True) if after is None or role_id < after]
    return roles[:limit]


async def count_custom(db: AsyncSession, org_id: UUID) -> int:
    """Count the custom roles of the organisation."""
    return await db.scalar(select(func.count()).select_from(Role).where(Role.org_id == org_id)) or 0


async def list_names(db: AsyncSession, org_id: UUID, *, except_id: UUID | None = None) -> Sequence[str]:
    """List the names of the organisation's custom roles, except that of the role `except_id`."""
    statement = select(Role.name).where(Role.org_id == org_id)
    return (await db.scalars(statement if except_id is None else statement.where(Role.id != except_id))).all()


async def filter_existing(db: AsyncSession, org_id: UUID, role_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids that belong to roles, built-in or custom."""
    built_in = {role_id for role_id in role_ids if role_id in BY_ID}
    if not (others := set(role_ids) - built_in):
        return built_in
    custom = await db.scalars(select(Role.id).where(Role.org_id == org_id, Role.id.in_(others)))
    return built_in | set(custom)
