"""Define the requests and responses about an organisation's users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import MISSING, Field, StrictBool, ValidationInfo, field_validator

from app.access.user_permissions import Permissions, RoleKind
from app.accounts.roles.rules import ENGINEER
from app.accounts.roles.schemas import PermissionTable, ResourceActions, ResourcePermissions, as_table, from_table
from app.accounts.users import models
from app.accounts.users.fields import Bio, Designation, LocaleOfUser, RoleId, TimeZoneOfUser
from app.accounts.users.filters import UserFilters
from app.accounts.users.rules import AccountStatus, UserStatus
from app.accounts.users.service import UserChanges
from app.core.fields import EXAMPLE_ID, CreatedAt, LongText, RequestModel, ResponseModel, UtcTimestamp
from app.core.web.paging import CountedPageQuery, SearchPage

MAX_REASON_LENGTH = 1000
EXAMPLE_REASON = "Please sign up with your work e-mail."
_PICTURE_URL = f"/users/{EXAMPLE_ID}/picture"
_VIEWS_MENUS = {"resource": "menus", "view": True, "create": False, "update": False, "delete": False}
_VIEWS_VENDORS = _VIEWS_MENUS | {"resource": "vendors"}


class User(ResponseModel):
    """A user of the organisation."""

    id: Annotated[UUID, Field(description="The user's id.", examples=[EXAMPLE_ID])]
    org_id: Annotated[UUID, Field(description="The id of the user's organisation.", examples=[EXAMPLE_ID])]
    first_name: Annotated[str, Field(description="The user's first name.", examples=["Ada"])]
    last_name: Annotated[str, Field(description="The user's last name.", examples=["Lovelace"])]
    email: Annotated[str, Field(description="The user's e-mail address, in lower case.", examples=["ada@growfin.com"])]
    role: Annotated[RoleKind, Field(description="The kind of the user's role.", examples=["ADMIN"])]
    role_id: Annotated[RoleId, Field(examples=[EXAMPLE_ID])]
    designation: Designation
    status: Annotated[
        UserStatus,
        Field(
            description="Only `ACTIVE` users can sign in. `PENDING` accounts wait for an admin's approval. `INVITED` "
            "accounts wait until their user accepts the invitation.",
            examples=["ACTIVE"],
        ),
    ]
    available: Annotated[
        bool,
        Field(
            description="Whether the user wants to be assigned new tickets. This has an effect only while they are "
            "active and may see and change tickets."
        ),
    ]
    email_verified: Annotated[bool, Field(description="Whether the user has proved that the e-mail address is theirs.")]
    second_factor: Annotated[
        bool, Field(description="Whether signing in also needs a code of the user's authenticator.")
    ]
    picture_url: Annotated[
        str | None,
        Field(description="The path of the user's picture; null if there is none.", examples=[_PICTURE_URL]),
    ]
    created_at: CreatedAt

    @classmethod
    def of(cls, row: models.User) -> Self:
        """Make the response from a row whose `role` is loaded."""
        return cls(**user_fields(row))


def user_fields(row: models.User) -> dict[str, Any]:
    """Return the fields that every response about a user has."""
    return {
        "id": row.id,
        "org_id": row.org_id,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "email": row.email,
        "role": row.role_kind,
        "role_id": row.effective_role_id,
        "designation": row.role_name,
        "status": row.status,
        "available": row.available,
        "email_verified": row.email_verified_at is not None,
        "second_factor": row.second_factor,
        "picture_url": row.picture_url,
        "created_at": row.created_at,
    }


class UserDetails(User):
    """A user of the organisation with their profile."""

    bio: Bio
    timezone: TimeZoneOfUser
    locale: LocaleOfUser
    status_reason: Annotated[
        str | None, Field(description="Why an admin rejected the account; null if no reason was given.")
    ]
    invitation_expires_at: Annotated[
        UtcTimestamp | None,
        Field(description="Of an `INVITED` user: when the mailed link expires. Null if no link can be used."),
    ]

    @classmethod
    def of_user(cls, row: models.User, invitation_expires_at: datetime | None) -> Self:
        """Make the response from a row whose `role` is loaded."""
        return cls(
            **user_fields(row),
            bio=row.bio,
            timezone=row.timezone,
            locale=row.locale,
            status_reason=row.status_reason,
            invitation_expires_at=invitation_expires_at,
        )


class UserListQuery(UserFilters, CountedPageQuery):
    """Select users. A repeated filter matches any of its values."""


class UserPage(SearchPage[User]):
    """A page of users."""


class UserUpdate(RequestModel):
    """Changes to a user. Fields that are not sent stay as they are."""

    role: Annotated[
        RoleKind | MISSING,
        Field(
            description="Gives the user the built-in role of this kind. `PUT /users/{id}/role` gives one of the "
            "organisation's own.",
            examples=["ENGINEER"],
        ),
    ] = MISSING
    status: Annotated[
        Literal["ACTIVE", "SUSPENDED"] | MISSING,
        Field(description="`SUSPENDED` signs the user out everywhere and blocks signing in.", examples=["ACTIVE"]),
    ] = MISSING
    available: Annotated[
        StrictBool | MISSING,
        Field(
            description="Whether the user wants to be assigned new tickets. This has an effect only while they are "
            "active and may see and change tickets. Customers cannot be available.",
            examples=[True],
        ),
    ] = MISSING

    def changes(self) -> UserChanges:
        """Return the fields that were sent."""
        return UserChanges(
            role_kind=None if self.role is MISSING else self.role,
            status=None if self.status is MISSING else AccountStatus(self.status),
            available=None if self.available is MISSING else self.available,
        )


class UserRejection(RequestModel):
    """Why an account is rejected."""

    reason: Annotated[
        Annotated[LongText, Field(max_length=MAX_REASON_LENGTH)] | None,
        Field(description="The reason, which is mailed to the user.", examples=[EXAMPLE_REASON]),
    ] = None


class UserRoleUpdate(RequestModel):
    """The role to give to a user."""

    role_id: Annotated[
        UUID, Field(description="The id of a role, built-in or the organisation's own.", examples=[str(ENGINEER.id)])
    ]


class UserPermissionsUpdate(RequestModel):
    """The permissions that are granted and denied to a user on top of their role. They replace the previous ones.

    Both lists are required: otherwise, leaving out `denied` by mistake would lift every denial.
    """

    granted: Annotated[
        PermissionTable,
        Field(description="Allowed in addition to the role.", examples=[[{"resource": "menus", "view": True}]]),
    ]
    denied: Annotated[
        PermissionTable,
        Field(
            description="Not allowed, even if the role allows it.", examples=[[{"resource": "vendors", "view": True}]]
        ),
    ]

    @field_validator("denied")
    @classmethod
    def _refuse_overlap(cls, denied: list[ResourceActions], info: ValidationInfo) -> list[ResourceActions]:
        if both := from_table(info.data.get("granted", [])) & from_table(denied):
            raise ValueError(f"These permissions are both granted and denied: {', '.join(sorted(both))}.")
        return denied


class UserPermissions(ResponseModel):
    """A user's permissions, and where they come from."""

    role: Annotated[RoleKind, Field(description="The kind of the user's role.", examples=["ENGINEER"])]
    role_id: RoleId
    designation: Annotated[Designation, Field(examples=["Engineer"])]
    from_role: Annotated[
        list[ResourcePermissions], Field(description="What the role allows. Every resource is listed.")
    ]
    granted: Annotated[
        list[ResourcePermissions],
        Field(description="Allowed in addition to the role.", examples=[[_VIEWS_MENUS]]),
    ]
    denied: Annotated[
        list[ResourcePermissions],
        Field(description="Not allowed, even if the role allows it.", examples=[[_VIEWS_VENDORS]]),
    ]
    effective: Annotated[
        list[ResourcePermissions],
        Field(description="The resulting permissions. Every resource is listed. Customers reach only their own data."),
    ]

    @classmethod
    def of(cls, row: models.User) -> Self:
        """Make the response from a row whose `role` is loaded."""
        return cls(
            role=row.role_kind,
            role_id=row.effective_role_id,
            designation=row.role_name,
            from_role=as_table(row.role_permissions),
            granted=_as_short_table(frozenset(row.granted)),
            denied=_as_short_table(frozenset(row.denied)),
            effective=as_table(row.permissions),
        )


def _as_short_table(permissions: Permissions) -> list[ResourcePermissions]:
    """Return the table without the resources on which nothing is allowed."""
    return [row for row in as_table(permissions) if row.view or row.create or row.update or row.delete]
