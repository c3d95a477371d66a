"""Reactions of menus to events."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import new_id
from app.menus.defaults import DEFAULT_MENU, DefaultEntry
from app.menus.models import MenuEntry
from app.organisations.events import OrganisationSignedUp


async def seed_menus(db: AsyncSession, org_id: UUID, event: OrganisationSignedUp) -> None:
    """Create the default menu of a new organisation, in the same transaction, so that the first sign-in shows it."""
    rows: list[dict[str, object]] = []

    def add(entries: tuple[DefaultEntry, ...], parent_id: UUID | None) -> None:
        for position, entry in enumerate(entries, start=1):
            menu_id = new_id()
            rows.append(
                {
                    "org_id": org_id,
                    "id": menu_id,
                    "parent_id": parent_id,
                    "name": entry.name,
                    "url": entry.url,
                    "icon": entry.icon,
                    "position": position,
                    "resource": entry.resource,
                    "create_url": entry.create_url,
                    "list_url": entry.list_url,
                    "hidden_for_roles": [],
                    "hidden_for_users": [],
                    "created_at": event.at,
                    "updated_at": event.at,
                }
            )
            add(entry.children, menu_id)

    add(DEFAULT_MENU, None)
    await db.execute(insert(MenuEntry), rows)  # parents precede their children
