"""Define the requests and responses about roles and permissions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self
from uuid import UUID

from pydantic import MISSING, AfterValidator, Field, StrictBool

from app.access.user_permissions import Action, Permissions, Resource, RoleKind, permission
from app.accounts.roles import models
from app.accounts.roles.models import AnyRole
from app.core.fields import EXAMPLE_ID, Name, RequestModel, ResponseModel, UtcTimestamp
from app.core.web.paging import CountedPage

_EXAMPLE_TIME = "2026-03-02T09:30:00.125Z"
_EXAMPLE_TABLE = [{"resource": "tickets", "view": True, "update": True}]

_RESOURCE = Field(description="The resource that the actions apply to.", examples=["tickets"])
_VIEW = Field(description="May read the resource.", examples=[True])
_CREATE = Field(description="May create the resource.")
_UPDATE = Field(description="May change the resource.", examples=[True])
_DELETE = Field(description="May delete the resource.")


class ResourceActions(RequestModel):
    """The actions on one resource. Actions that are not sent are not allowed."""

    resource: Annotated[Resource, _RESOURCE]
    view: Annotated[StrictBool, _VIEW] = False
    create: Annotated[StrictBool, _CREATE] = False
    update: Annotated[StrictBool, _UPDATE] = False
    delete: Annotated[StrictBool, _DELETE] = False


class ResourcePermissions(ResponseModel):
    """What may be done with one resource."""

    resource: Annotated[Resource, _RESOURCE]
    view: Annotated[bool, _VIEW]
    create: Annotated[bool, _CREATE, Field(examples=[False])]
    update: Annotated[bool, _UPDATE]
    delete: Annotated[bool, _DELETE, Field(examples=[False])]


def as_table(permissions: Permissions) -> list[ResourcePermissions]:
    """Return permissions as responses show them: one row for each resource."""
    return [
        ResourcePermissions(
            resource=resource,
            **{action.value: permission(resource, action) in permissions for action in Action},
        )
        for resource in Resource
    ]


def from_table(rows: Iterable[ResourceActions]) -> Permissions:
    """Return the permissions that a table contains."""
    return frozenset(
        permission(row.resource, action) for row in rows for action in Action if getattr(row, action.value)
    )


def _refuse_duplicates(rows: list[ResourceActions]) -> list[ResourceActions]:
    if len({row.resource for row in rows}) < len(rows):
        raise ValueError("A resource is listed twice.")
    return rows


# Nothing may be done with a resource that is not listed.
PermissionTable = Annotated[list[ResourceActions], Field(max_length=len(Resource)), AfterValidator(_refuse_duplicates)]

RoleName = Annotated[
    Name, Field(description="The role's name, unique in the organisation ignoring case.", examples=["Support lead"])
]


class RoleCreate(RequestModel):
    """A new role of the organisation's own."""

    name: RoleName
    role: Annotated[
        RoleKind | MISSING,
        Field(
            description="The kind of role. If absent, the kind of the copied role, or else `ENGINEER`.",
            examples=["ENGINEER"],
        ),
    ] = MISSING
    copy_of: Annotated[
        UUID | None,
        Field(description="The id of a role whose permissions are copied, built-in or the organisation's own."),
    ] = None
    permissions: Annotated[
        PermissionTable | MISSING,
        Field(
            description="What the role allows, instead of copied permissions. Nothing is allowed on resources that are "
            "not listed.",
            examples=[_EXAMPLE_TABLE],
        ),
    ] = MISSING


class RoleUpdate(RequestModel):
    """Changes to a role. Fields that are not sent stay as they are."""

    name: RoleName | MISSING = MISSING
    permissions: Annotated[
        PermissionTable | MISSING,
        Field(
            description="Replaces what the role allows. Nothing is allowed on resources that are not listed.",
            examples=[_EXAMPLE_TABLE],
        ),
    ] = MISSING


class Role(ResponseModel):
    """A role: a named set of permissions."""

    id: Annotated[UUID, Field(description="The role's id.", examples=[EXAMPLE_ID])]
    name: Annotated[str, Field(description="The role's name.", examples=["Support lead"])]
    role: Annotated[RoleKind, Field(description="The kind of role.", examples=["ENGINEER"])]
    built_in: Annotated[
        bool, Field(description="Whether it exists in every organisation and cannot be changed.", examples=[False])
    ]
    permissions: Annotated[
        list[ResourcePermissions], Field(description="What the role allows. Every resource is listed.")
    ]
    created_at: Annotated[
        UtcTimestamp | None,
        Field(description="When it was created; null if built-in.", examples=[_EXAMPLE_TIME]),
    ]
    updated_at: Annotated[
        UtcTimestamp | None,
        Field(description="When it was last changed; null if built-in.", examples=[_EXAMPLE_TIME]),
    ]

    @classmethod
    def of(cls, role: AnyRole) -> Self:
        """Make the response from a role."""
        custom = role if isinstance(role, models.Role) else None
        return cls(
            id=role.id,
            name=role.name,
            role=role.kind,
            built_in=custom is None,
            permissions=as_table(frozenset(role.permissions)),
            created_at=custom.created_at if custom else None,
            updated_at=custom.updated_at if custom else None,
        )


class RolePage(CountedPage[Role]):
    """A page of roles."""
