"""Reads of menus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.core.errors import NotFound
from app.menus.models import Menu
from app.menus.rules import Branch, Entry, Viewer, menu_of


class MenuNotFound(NotFound):
    """No menu of the caller's organisation has this id."""

    code = "menu_not_found"
    title = "There is no such menu."


async def menu(db: AsyncSession, org_id: UUID, menu_id: UUID) -> Menu:
    """One entry.

    Raises:
        MenuNotFound
    """
    found = await db.get(Menu, (org_id, menu_id))
    if found is None:
        raise MenuNotFound
    return found


async def page(db: AsyncSession, org_id: UUID, *, after: UUID | None, limit: int) -> Sequence[Menu]:
    """The entries after the entry `after`, newest first."""
    statement = select(Menu).where(Menu.org_id == org_id).order_by(Menu.id.desc()).limit(limit)
    return (await db.scalars(statement if after is None else statement.where(Menu.id < after))).all()


async def count(db: AsyncSession, org_id: UUID) -> int:
    """How many entries there are."""
    return await db.scalar(select(func.count()).select_from(Menu).where(Menu.org_id == org_id)) or 0


async def places(db: AsyncSession, org_id: UUID) -> dict[UUID, tuple[UUID | None, int]]:
    """Where every entry stands: its parent, and its position there."""
    rows = await db.execute(select(Menu.id, Menu.parent_id, Menu.position).where(Menu.org_id == org_id))
    return {menu_id: (parent_id, position) for menu_id, parent_id, position in rows}


async def users(db: AsyncSession, org_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
    """Which of these are ids of users of the organisation."""
    if not user_ids:
        return set()
    found = await db.scalars(
        select(User.id).where(User.org_id == org_id, User.id.in_(user_ids), User.status != AccountStatus.ERASED)
    )
    return set(found)


async def seen_by(db: AsyncSession, org_id: UUID, viewer: Viewer) -> tuple[Branch, ...]:
    """Somebody's menu."""
    rows = await db.execute(
        select(
            Menu.id,
            Menu.parent_id,
            Menu.name,
            Menu.url,
            Menu.icon,
            Menu.position,
            Menu.resource,
            Menu.create_url,
            Menu.list_url,
            Menu.hidden_for_roles,
            Menu.hidden_for_users,
        ).where(Menu.org_id == org_id)
    )
    return menu_of(viewer, [Entry(**row) for row in rows.mappings()])
