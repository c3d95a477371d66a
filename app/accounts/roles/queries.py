"""Reads of roles. The built-in ones are not rows: they are in `rules.py`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.roles.models import CustomRole
from app.accounts.roles.rules import BY_ID, BuiltInRole
from app.core.errors import BadInput, FieldError, NotFound

AnyRole = BuiltInRole | CustomRole


class RoleNotFound(NotFound):
    """No role, built in or of the caller's organisation, has this id."""

    code = "role_not_found"
    title = "There is no such role."


class UnknownRole(BadInput):
    """The role that somebody is to have is none of the organisation's."""

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("roleId", "There is no such role.")])


async def role(db: AsyncSession, org_id: UUID, role_id: UUID) -> AnyRole:
    """A role, built in or the organisation's own.

    Raises:
        RoleNotFound
    """
    found = BY_ID.get(role_id) or await db.scalar(
        select(CustomRole).where(CustomRole.org_id == org_id, CustomRole.id == role_id)
    )
    if found is None:
        raise RoleNotFound
    return found


async def assignable(db: AsyncSession, org_id: UUID, role_id: UUID) -> AnyRole:
    """A role to give to somebody: nobody deletes it before this transaction ends.

    Raises:
        UnknownRole
    """
    found = BY_ID.get(role_id) or await db.scalar(
        select(CustomRole)
        .where(CustomRole.org_id == org_id, CustomRole.id == role_id)
        .with_for_update(read=True, key_share=True)
    )
    if found is None:
        raise UnknownRole
    return found


async def lock(db: AsyncSession, org_id: UUID, role_id: UUID) -> CustomRole:
    """A role of the organisation's own, locked until the transaction ends.

    Raises:
        RoleNotFound
    """
    found = await db.scalar(
        select(CustomRole)
        .where(CustomRole.org_id == org_id, CustomRole.id == role_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise RoleNotFound
    return found


async def page(db: AsyncSession, org_id: UUID, *, after: UUID | None, limit: int) -> Sequence[AnyRole]:
    """The roles after the role `after`: the organisation's own, newest first, then the built-in ones.

    All ids sort in that order, since the built-in ones are smaller than any that is made.
    """
    statement = select(CustomRole).where(CustomRole.org_id == org_id).order_by(CustomRole.id.desc()).limit(limit)
    own = (await db.scalars(statement if after is None else statement.where(CustomRole.id < after))).all()
    found: list[AnyRole] = list(own)
    found += [BY_ID[role_id] for role_id in sorted(BY_ID, reverse=True) if after is None or role_id < after]
    return found[:limit]


async def count(db: AsyncSession, org_id: UUID) -> int:
    """How many roles of its own the organisation has."""
    return await db.scalar(select(func.count()).select_from(CustomRole).where(CustomRole.org_id == org_id)) or 0


async def names(db: AsyncSession, org_id: UUID, *, but: UUID | None = None) -> Sequence[str]:
    """The names of the organisation's own roles, except of the role `but`."""
    statement = select(CustomRole.name).where(CustomRole.org_id == org_id)
    return (await db.scalars(statement if but is None else statement.where(CustomRole.id != but))).all()


async def known(db: AsyncSession, org_id: UUID, role_ids: Collection[UUID]) -> set[UUID]:
    """Which of these are ids of roles, built in or the organisation's own."""
    built_in = {role_id for role_id in role_ids if role_id in BY_ID}
    if not (others := set(role_ids) - built_in):
        return built_in
    own = await db.scalars(select(CustomRole.id).where(CustomRole.org_id == org_id, CustomRole.id.in_(others)))
    return built_in | set(own)
