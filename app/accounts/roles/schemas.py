"""What crosses the wire about roles and permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool

from app.access.permissions import Action, Permissions, Resource, RoleKind, permission
from app.accounts.roles.models import CustomRole
from app.accounts.roles.rules import BuiltInRole
from app.core.fields import In, Name, Out, OutTime
from app.core.web.paging import CountedPage

_AT = "2026-03-02T09:30:00.125Z"
_TABLE = [{"resource": "tickets", "view": True, "update": True}]


class PermissionIn(In):
    """What may be done with a resource; nothing, where nothing is said."""

    resource: Annotated[Resource, Field(examples=["tickets"])]
    view: Annotated[StrictBool, Field(examples=[True])] = False
    create: StrictBool = False
    update: Annotated[StrictBool, Field(examples=[True])] = False
    delete: StrictBool = False


class PermissionOut(Out):
    """What may be done with a resource."""

    resource: Annotated[Resource, Field(examples=["tickets"])]
    view: Annotated[bool, Field(examples=[True])]
    create: Annotated[bool, Field(examples=[False])]
    update: Annotated[bool, Field(examples=[True])]
    delete: Annotated[bool, Field(examples=[False])]


def as_table(permissions: Permissions) -> list[PermissionOut]:
    """Permissions as answers show them: every resource, with what may be done with it."""
    return [
        PermissionOut(
            resource=resource,
            **{action.value: permission(resource, action) in permissions for action in Action},
        )
        for resource in Resource
    ]


def from_table(rows: Iterable[PermissionIn]) -> Permissions:
    """The permissions that a table gives."""
    return frozenset(
        permission(row.resource, action) for row in rows for action in Action if getattr(row, action.value)
    )


def _once_each(rows: list[PermissionIn]) -> list[PermissionIn]:
    if len({row.resource for row in rows}) < len(rows):
        raise ValueError("A resource is listed twice.")
    return rows


# A resource that is not listed is one with which nothing may be done.
PermissionTable = Annotated[list[PermissionIn], Field(max_length=len(Resource)), AfterValidator(_once_each)]

RoleName = Annotated[
    Name, Field(description="Unique in the organisation, whatever its case.", examples=["Support lead"])
]


class RoleIn(In):
    """A new role."""

    name: RoleName
    role: Annotated[
        RoleKind,
        Field(
            description="What those who have it are to the organisation. As the copied role, or else `ENGINEER`.",
            examples=["ENGINEER"],
        ),
    ] = None  # type: ignore[assignment]
    copy_of: Annotated[
        UUID | None, Field(description="The id of a role, built in or not, whose permissions it gets at first.")
    ] = None
    permissions: Annotated[
        PermissionTable, Field(description="Instead of a copy's. What is not listed is not allowed.", examples=[_TABLE])
    ] = None  # type: ignore[assignment]


class RoleChange(In):
    """Any of these."""

    name: RoleName = None  # type: ignore[assignment]
    permissions: Annotated[
        PermissionTable,
        Field(description="Instead of those that it has. What is not listed is not allowed.", examples=[_TABLE]),
    ] = None  # type: ignore[assignment]


class RoleOut(Out):
    """A role: a name for permissions."""

    id: UUID
    name: Annotated[str, Field(examples=["Support lead"])]
    role: Annotated[
        RoleKind, Field(description="What those who have it are to the organisation.", examples=["ENGINEER"])
    ]
    built_in: Annotated[
        bool, Field(description="Whether every organisation has it, and nobody can change it.", examples=[False])
    ]
    permissions: Annotated[list[PermissionOut], Field(description="Every resource.")]
    created_at: Annotated[OutTime | None, Field(description="Null for a built-in one.", examples=[_AT])]
    updated_at: Annotated[OutTime | None, Field(description="Null for a built-in one.", examples=[_AT])]

    @classmethod
    def of(cls, role: BuiltInRole | CustomRole) -> Self:
        """The answer about this role."""
        own = role if isinstance(role, CustomRole) else None
        return cls(
            id=role.id,
            name=role.name,
            role=role.role,
            built_in=own is None,
            permissions=as_table(frozenset(role.permissions)),
            created_at=own.created_at if own else None,
            updated_at=own.updated_at if own else None,
        )


class RolePage(CountedPage[RoleOut]):
    """A page of roles."""
