"""What users may do. A permission is an action on a resource, written `tickets:view`."""

from __future__ import annotations

from enum import StrEnum


class RoleKind(StrEnum):
    """The kind of a role. Every role, built-in or custom, has one kind."""

    ADMIN = "ADMIN"
    ENGINEER = "ENGINEER"
    CUSTOMER = "CUSTOMER"  # sees only their own tickets

    def outranks(self, other: RoleKind) -> bool:
        """Return whether this kind ranks above another: users cannot grant a higher kind or change its users."""
        return _RANKS.index(self) > _RANKS.index(other)


_RANKS = (RoleKind.CUSTOMER, RoleKind.ENGINEER, RoleKind.ADMIN)


class Resource(StrEnum):
    """A kind of thing to act on."""

    TICKETS = "tickets"
    COMMENTS = "comments"
    REQUESTERS = "requesters"
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
    """What can be done with a resource."""

    VIEW = "view"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


Permissions = frozenset[str]


def permission(resource: Resource, action: Action) -> str:
    """Write a permission as it is stored and shown."""
    return f"{resource.value}:{action.value}"


ALL: Permissions = frozenset(permission(resource, action) for resource in Resource for action in Action)

# A user with any of these can give others access, or take it from them. To grant them is to make an admin of sorts.
ADMINISTRATIVE: Permissions = frozenset(
    permission(resource, action)
    for resource in (Resource.USERS, Resource.ROLES, Resource.KEYS, Resource.ORG, Resource.WEBHOOKS)
    for action in (Action.CREATE, Action.UPDATE, Action.DELETE)
)

# Required to work on tickets: a user who lacks either is not assigned tickets, nor mailed their texts.
TICKET_WORK: Permissions = frozenset(permission(Resource.TICKETS, action) for action in (Action.VIEW, Action.UPDATE))


def can_work_on_tickets(permissions: Permissions) -> bool:
    """Return whether a user with these permissions can work on tickets."""
    return permissions >= TICKET_WORK


def combine_permissions(role_permissions: Permissions, granted: Permissions, denied: Permissions) -> Permissions:
    """Combine the permissions of a user's role with the permissions granted and denied to the user."""
    return (role_permissions | granted) - denied


def exceeds(wanted: Permissions, own: Permissions) -> bool:
    """Return whether `wanted` has a permission that is not in `own`."""
    return not wanted <= own


def amounts_to_admin(role_kind: RoleKind, permissions: Permissions) -> bool:
    """Return whether a user of this kind with these permissions can decide who has access to the organisation."""
    return role_kind == RoleKind.ADMIN or not ADMINISTRATIVE.isdisjoint(permissions)
