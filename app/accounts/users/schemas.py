"""What crosses the wire about an organisation's users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, field_validator

from app.access.permissions import Permissions, Role
from app.accounts.roles.rules import ENGINEER
from app.accounts.roles.schemas import PermissionIn, PermissionOut, PermissionTable, as_table, from_table
from app.accounts.users.fields import UserFields, fields_of
from app.accounts.users.models import User
from app.accounts.users.rights import query_terms
from app.accounts.users.rules import Status, UserStatus
from app.core.fields import In, LongText, Name, Out, OutTime
from app.core.web.paging import CountedPage, CountedPageQuery

MAX_WORDS = 8
MAX_REASON_LENGTH = 1000
EXAMPLE_REASON = "Please sign up with your work e-mail."
_SEES_MENUS = {"resource": "menus", "view": True, "create": False, "update": False, "delete": False}
_NO_VENDORS = _SEES_MENUS | {"resource": "vendors"}


def _few_words(text: str) -> str:
    if len(query_terms(text)) > MAX_WORDS:
        raise ValueError(f"At most {MAX_WORDS} words.")
    return text


class UserFilter(CountedPageQuery):
    """Which users; a filter that may be repeated means any of its values."""

    role: Annotated[
        list[Role],
        Field(max_length=len(Role), description="What they are to the organisation, whichever role of that kind."),
    ] = []
    status: Annotated[
        list[UserStatus],
        Field(
            max_length=len(UserStatus),
            description="Where they stand: `PENDING` are the sign-ups that wait for approval, `INVITED` those who have "
            "not accepted yet.",
        ),
    ] = []
    q: Annotated[
        Annotated[Name, AfterValidator(_few_words)] | None,
        Field(description="Beginnings of words of the name or the e-mail, in any order, case and accents aside."),
    ] = None
    available: Annotated[
        bool | None,
        Field(
            description="Whether new tickets may be assigned to them now: their switch `available` is on, and they are "
            "active, no customer, and may see and change tickets. `false` finds all others."
        ),
    ] = None


class UserPage(CountedPage[UserFields]):
    """A page of users."""


class UserOut(UserFields):
    """Somebody of the organisation, with what they say of themselves."""

    bio: str | None
    timezone: Annotated[str | None, Field(examples=["Europe/Berlin"])]
    locale: Annotated[str | None, Field(examples=["en-GB"])]
    status_reason: Annotated[str | None, Field(description="Why they were rejected, if they were and it was said.")]
    invitation_expires_at: Annotated[
        OutTime | None,
        Field(description="Of who is `INVITED`: until then the mailed link can be used. Null if none can, or no more."),
    ]

    @classmethod
    def of_user(cls, user: User, invitation_expires_at: datetime | None) -> Self:
        """The answer about this row, which was read with its role."""
        return cls(
            **fields_of(user),
            bio=user.bio,
            timezone=user.timezone,
            locale=user.locale,
            status_reason=user.status_reason,
            invitation_expires_at=invitation_expires_at,
        )


class UserChange(In):
    """Any of these."""

    role: Annotated[
        Role,
        Field(
            description="The built-in role of this kind, in place of whichever they have. `PUT /users/{id}/role` gives "
            "one of the organisation's own.",
            examples=["ENGINEER"],
        ),
    ] = None  # type: ignore[assignment]
    status: Annotated[
        Literal[Status.ACTIVE, Status.SUSPENDED],
        Field(description="Whoever is suspended is signed out everywhere, and cannot sign in.", examples=["ACTIVE"]),
    ] = None  # type: ignore[assignment]
    available: Annotated[
        StrictBool,
        Field(
            description="Their own switch: whether they want new tickets; a customer never does. It counts while they "
            "are active and may see and change tickets.",
            examples=[True],
        ),
    ] = None  # type: ignore[assignment]


class Rejection(In):
    """Why; it is mailed to the user."""

    reason: Annotated[
        Annotated[LongText, Field(max_length=MAX_REASON_LENGTH)] | None,
        Field(examples=[EXAMPLE_REASON]),
    ] = None


class RoleChoice(In):
    """A role, built in or the organisation's own."""

    role_id: Annotated[UUID, Field(examples=[str(ENGINEER.id)])]


class PermissionsChange(In):
    """What somebody is granted and denied on top of their role: all of it, since it replaces what there was.

    Both are needed, or one that was only forgotten would silently lift every denial.
    """

    granted: Annotated[
        PermissionTable,
        Field(description="What they may do besides.", examples=[[{"resource": "menus", "view": True}]]),
    ]
    denied: Annotated[
        PermissionTable,
        Field(
            description="What they may not do, whatever their role says.",
            examples=[[{"resource": "vendors", "view": True}]],
        ),
    ]

    @field_validator("denied")
    @classmethod
    def _not_both(cls, denied: list[PermissionIn], info: ValidationInfo) -> list[PermissionIn]:
        if both := from_table(info.data.get("granted", [])) & from_table(denied):
            raise ValueError(f"The same is granted and denied: {', '.join(sorted(both))}.")
        return denied


class UserPermissions(Out):
    """What somebody may do, and why."""

    role: Annotated[Role, Field(examples=["ENGINEER"])]
    role_id: Annotated[
        UUID, Field(description="The role, built in or the organisation's own.", examples=[str(ENGINEER.id)])
    ]
    designation: Annotated[str, Field(description="The role's name.", examples=["Engineer"])]
    from_role: Annotated[list[PermissionOut], Field(description="What their role gives: every resource.")]
    granted: Annotated[list[PermissionOut], Field(description="What they may do besides.", examples=[[_SEES_MENUS]])]
    denied: Annotated[
        list[PermissionOut],
        Field(description="What they may not do, whatever their role says.", examples=[[_NO_VENDORS]]),
    ]
    effective: Annotated[
        list[PermissionOut], Field(description="What follows: every resource. Customers reach their own things only.")
    ]

    @classmethod
    def of(cls, user: User) -> Self:
        """The answer about this row, which was read with its role."""
        return cls(
            role=Role(user.role),
            role_id=user.effective_role_id,
            designation=user.designation,
            from_role=as_table(user.role_permissions),
            granted=_said(frozenset(user.granted)),
            denied=_said(frozenset(user.denied)),
            effective=as_table(user.permissions),
        )


def _said(permissions: Permissions) -> list[PermissionOut]:
    """The rows that say something."""
    return [row for row in as_table(permissions) if row.view or row.create or row.update or row.delete]
