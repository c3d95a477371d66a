"""The built-in roles, which every organisation has."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.access.user_permissions import ALL, Action, Permissions, Resource, RoleKind, permission

MAX_ROLES = 200  # custom roles of an organisation

_VIEW, _CREATE, _UPDATE, _DELETE = Action


@dataclass(frozen=True)
class BuiltInRole:
    """A role that is the same in every organisation. It can be read and copied, but not changed."""

    id: UUID
    name: str
    kind: RoleKind
    permissions: Permissions


def _allowed(*pairs: tuple[Resource, tuple[Action, ...]]) -> Permissions:
    return frozenset(permission(resource, action) for resource, actions in pairs for action in actions)


ADMIN = BuiltInRole(UUID("00000000-0000-7000-8000-000000000001"), "Admin", RoleKind.ADMIN, ALL)

ENGINEER = BuiltInRole(
    UUID("00000000-0000-7000-8000-000000000002"),
    "Engineer",
    RoleKind.ENGINEER,
    _allowed(
        (Resource.TICKETS, (_VIEW, _CREATE, _UPDATE)),
        (Resource.COMMENTS, (_VIEW, _CREATE, _UPDATE, _DELETE)),
        (Resource.REQUESTERS, (_VIEW, _CREATE, _UPDATE)),
        (Resource.USERS, (_VIEW,)),
        (Resource.VENDORS, (_VIEW,)),
        (Resource.STORES, (_VIEW,)),
        (Resource.REPORTS, (_VIEW,)),
        (Resource.ORG, (_VIEW,)),
    ),
)

# Users of this role kind only see their own tickets, and the comments on them.
CUSTOMER = BuiltInRole(
    UUID("00000000-0000-7000-8000-000000000003"),
    "Customer",
    RoleKind.CUSTOMER,
    _allowed(
        (Resource.TICKETS, (_VIEW, _CREATE, _UPDATE)),
        (Resource.COMMENTS, (_VIEW,)),
        (Resource.ORG, (_VIEW,)),
    ),
)

BUILT_IN = {built_in.kind: built_in for built_in in (ADMIN, ENGINEER, CUSTOMER)}
BY_ID = {built_in.id: built_in for built_in in BUILT_IN.values()}


def is_built_in_name(name: str) -> bool:
    """Return whether a name equals that of a built-in role, ignoring case."""
    return name.casefold() in {built_in.name.casefold() for built_in in BUILT_IN.values()}
