"""The menu that every organisation starts with."""

from __future__ import annotations

from dataclasses import dataclass

from app.access.permissions import Resource


@dataclass(frozen=True, kw_only=True)
class Default:
    """An entry; its place among the others is its position."""

    name: str
    icon: str
    url: str | None = None
    resource: Resource | None = None
    create_url: str | None = None
    list_url: str | None = None
    below: tuple[Default, ...] = ()


DEFAULTS = (
    Default(
        name="Tickets",
        icon="ticket",
        url="/tickets",
        resource=Resource.TICKETS,
        create_url="/tickets/new",
        list_url="/tickets",
    ),
    Default(
        name="Notifications",
        icon="mail",
        url="/notifications",
        resource=Resource.NOTIFICATIONS,
        list_url="/notifications",
    ),
    Default(
        name="Users",
        icon="users",
        below=(
            Default(
                name="Users",
                icon="user",
                url="/users",
                resource=Resource.USERS,
                create_url="/users/new",
                list_url="/users",
            ),
            Default(
                name="Roles",
                icon="shield",
                url="/roles",
                resource=Resource.ROLES,
                create_url="/roles/new",
                list_url="/roles",
            ),
        ),
    ),
    Default(
        name="Settings",
        icon="settings",
        below=(
            Default(name="Organisation", icon="building", url="/settings/organisation", resource=Resource.ORG),
            Default(
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
