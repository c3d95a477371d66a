"""Queries of menus."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
from app.menus.errors import MenuEntryNotFound
from app.menus.models import MenuEntry
from app.menus.rules import Entry, MenuNode, Viewer, build_menu


async def get_menu_entry(db: AsyncSession, org_id: UUID, menu_id: UUID) -> MenuEntry:
    """Return a menu entry.

    Raises:
        MenuEntryNotFound
    """
    found = await db.get(MenuEntry, (org_id, menu_id))
    if found is None:
        raise MenuEntryNotFound
    return found


async def list_page(db: AsyncSession, org_id: UUID, *, after: UUID | None, limit: int) -> Sequence[MenuEntry]:
    """List the entries older than the entry `after`, newest first."""
    statement = select(MenuEntry).where(MenuEntry.org_id == org_id).order_by(MenuEntry.id.desc()).limit(limit)
    return (await db.scalars(statement if after is None else statement.where(MenuEntry.id < after))).all()


async def count(db: AsyncSession, org_id: UUID) -> int:
    """Count the organisation's entries."""
    return await db.scalar(select(func.count()).select_from(MenuEntry).where(MenuEntry.org_id == org_id)) or 0


async def load_positions(db: AsyncSession, org_id: UUID) -> dict[UUID, tuple[UUID | None, int]]:
    """Return the parent and the position of every entry, by id."""
    rows = await db.execute(
        select(MenuEntry.id, MenuEntry.parent_id, MenuEntry.position).where(MenuEntry.org_id == org_id)
    )
    return {menu_id: (parent_id, position) for menu_id, parent_id, position in rows}


async def filter_existing_users(db: AsyncSession, org_id: UUID, user_ids: Collection[UUID]) -> set[UUID]:
    """Return the ids that belong to users of the organisation."""
    if not user_ids:
        return set()
    existing = await db.scalars(
        select(User.id).where(User.org_id == org_id, User.id.in_(user_ids), User.status != AccountStatus.ERASED)
    )
    return set(existing)


async def visible_menu(db: AsyncSession, org_id: UUID, viewer: Viewer) -> tuple[MenuNode, ...]:
    """Return the part of the organisation's menu that the viewer can see."""
    rows = await db.execute(
        select(
            MenuEntry.id,
            MenuEntry.parent_id,
            MenuEntry.name,
            MenuEntry.url,
            MenuEntry.icon,
            MenuEntry.position,
            MenuEntry.resource,
            MenuEntry.create_url,
            MenuEntry.list_url,
            MenuEntry.hidden_for_roles,
            MenuEntry.hidden_for_users,
        ).where(MenuEntry.org_id == org_id)
    )
    return build_menu(viewer, [Entry(**row) for row in rows.mappings()])


async def menu_of_user(db: AsyncSession, user: User) -> tuple[MenuNode, ...]:
    """Return the part of the organisation's menu that a user can see; the `role` of the row must be loaded."""
    return await visible_menu(db, user.org_id, Viewer(user.id, user.effective_role_id, user.permissions))
