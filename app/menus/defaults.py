"""The default menu of a new organisation."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.user_permissions import Resource


@dataclass(frozen=True, kw_only=True)
class DefaultEntry:
    """A menu entry. Its index among its siblings is its position."""

    name: str
    icon: str
    url: str | None = None
    resource: Resource | None = None
    create_url: str | None = None
    list_url: str | None = None
    children: tuple[DefaultEntry, ...] = ()


DEFAULT_MENU = (
    DefaultEntry(
        name="Tickets",
        icon="ticket",
        url="/tickets",
        resource=Resource.TICKETS,
        create_url="/tickets/new",
        list_url="/tickets",
    ),
    DefaultEntry(
        name="Notifications",
        icon="mail",
        url="/notifications",
        resource=Resource.NOTIFICATIONS,
        list_url="/notifications",
    ),
    DefaultEntry(
        name="Users",
        icon="users",
        children=(
            DefaultEntry(
                name="Users",
                icon="user",
                url="/users",
                resource=Resource.USERS,
                create_url="/users/new",
                list_url="/users",
            ),
            DefaultEntry(
                name="Roles",
                icon="shield",
                url="/roles",
                resource=Resource.ROLES,
                create_url="/roles/new",
                list_url="/roles",
            ),
        ),
    ),
    DefaultEntry(
        name="Settings",
        icon="settings",
        children=(
            DefaultEntry(name="Organisation", icon="building", url="/settings/organisation", resource=Resource.ORG),
            DefaultEntry(
                name="Menus",
                icon="menu",
                url="/settings/menus",
                resource=Resource.MENUS,
                create_url="/settings/menus/new",
                list_url="/settings/menus",
            ),
        ),
    ),
)
