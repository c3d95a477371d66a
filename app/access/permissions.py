"""What users may do. A permission is an action on a resource, written `tickets:view`."""

from __future__ import annotations

from enum import StrEnum


class RoleKind(StrEnum):
    """What somebody is to the organisation; every role, built in or made by the organisation, is of one of these."""

    ADMIN = "ADMIN"
    ENGINEER = "ENGINEER"
    CUSTOMER = "CUSTOMER"  # sees only what is their own

    def outranks(self, other: RoleKind) -> bool:
        """Whether this is more to the organisation: who is less neither gives it to anybody nor acts on who is."""
        return _RANKS.index(self) > _RANKS.index(other)


_RANKS = (RoleKind.CUSTOMER, RoleKind.ENGINEER, RoleKind.ADMIN)


class Resource(StrEnum):
    """What there is to act on."""

    TICKETS = "tickets"
    COMMENTS = "comments"
    USERS = "users"
    ROLES = "roles"
    MENUS = "menus"
    KEYS = "keys"
    WEBHOOKS = "webhooks"
    VENDORS = "vendors"
    STORES = "stores"
    REPORTS = "reports"
    ORG = "org"
    NOTIFICATIONS = "notifications"
    JOBS = "jobs"


class Action(StrEnum):
    """What can be done with it."""

    VIEW = "view"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


Permissions = frozenset[str]


def permission(resource: Resource, action: Action) -> str:
    """The permission as it is stored and shown."""
    return f"{resource.value}:{action.value}"


ALL: Permissions = frozenset(permission(resource, action) for resource in Resource for action in Action)

# What it takes to work on tickets: nobody is given one, or mailed what it says, without both.
TICKET_WORK: Permissions = frozenset(permission(Resource.TICKETS, action) for action in (Action.VIEW, Action.UPDATE))


def effective(of_role: Permissions, granted: Permissions, denied: Permissions) -> Permissions:
    """What somebody may do: what their role may and what they were granted, less what they were denied."""
    return (of_role | granted) - denied


def exceeds(wanted: Permissions, own: Permissions) -> bool:
    """Whether somebody with `own` would give, or act on, more than they have: no one grants what they do not have."""
    return not wanted <= own
