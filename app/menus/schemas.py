"""Define the requests and responses about menus."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import MISSING, AfterValidator, BeforeValidator, Field, StrictInt, StringConstraints

from app.access.callers import Principal
from app.access.user_permissions import Action, Resource
from app.accounts.users.fields import Designation
from app.core.fields import EXAMPLE_ID, OF_ANY_SIZE, CreatedAt, Name, RequestModel, ResponseModel, UpdatedAt, clean_line
from app.core.web.paging import CountedPage
from app.menus import models
from app.menus.rules import MAX_POSITION, MenuNode, validate_url
from app.menus.service import MenuFields

MAX_HIDDEN = 100

Address = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    BeforeValidator(clean_line),
    AfterValidator(validate_url),
]


def _drop_duplicates(ids: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(ids))


Ids = Annotated[list[UUID], Field(max_length=MAX_HIDDEN), AfterValidator(_drop_duplicates)]
Position = Annotated[StrictInt, Field(ge=0, le=MAX_POSITION), OF_ANY_SIZE]

_ID = Field(description="The entry's id.", examples=[EXAMPLE_ID])
_NAME = Field(description="The text of the entry.", examples=["Tickets"])
_URL = Field(
    description="Where the entry leads: a path, or an http or https URL; null for a heading.", examples=["/tickets"]
)
_ICON = Field(description="The entry's icon, in a form that your front end understands.", examples=["ticket"])
_PARENT_ID = Field(description="The id of the entry that it is below; null at the top.")
_POSITION = Field(description="The entry's place among those with the same parent, lowest first.", examples=[1])
_RESOURCE = Field(
    description="Only users who may view this resource see the entry; null for all users.", examples=["tickets"]
)
_CREATE_URL = Field(description="Where a resource of this kind is created.", examples=["/tickets/new"])
_LIST_URL = Field(description="Where resources of this kind are listed.", examples=["/tickets"])
_HIDDEN_FOR_ROLES = Field(description="The ids of all roles that do not see the entry, built-in ones included.")
_HIDDEN_FOR_USERS = Field(description="The ids of all users who do not see the entry.")

SessionMinutes = Annotated[
    int, Field(description="How many minutes the session lasts after its last use.", examples=[1440])
]


class MenuCreate(RequestModel):
    """A new menu entry."""

    name: Annotated[Name, _NAME]
    url: Annotated[Address | MISSING | None, _URL] = MISSING
    icon: Annotated[Name | MISSING | None, _ICON] = MISSING
    parent_id: Annotated[UUID | MISSING | None, _PARENT_ID] = MISSING
    position: Annotated[
        Position | MISSING,
        Field(
            description="The entry's place among those with the same parent, lowest first. If absent, the last.",
            examples=[1],
        ),
    ] = MISSING
    resource: Annotated[Resource | MISSING | None, _RESOURCE] = MISSING
    create_url: Annotated[Address | MISSING | None, _CREATE_URL] = MISSING
    list_url: Annotated[Address | MISSING | None, _LIST_URL] = MISSING
    hidden_for_roles: Annotated[Ids | MISSING, _HIDDEN_FOR_ROLES] = MISSING
    hidden_for_users: Annotated[Ids | MISSING, _HIDDEN_FOR_USERS] = MISSING

    def fields(self) -> MenuFields:
        """Return the fields that were sent."""
        return MenuFields(
            name=self.name,
            url=self.url,
            icon=self.icon,
            parent_id=self.parent_id,
            position=self.position,
            resource=self.resource,
            create_url=self.create_url,
            list_url=self.list_url,
            hidden_for_roles=self.hidden_for_roles,
            hidden_for_users=self.hidden_for_users,
        )


class MenuUpdate(RequestModel):
    """Changes to a menu entry. Fields that are not sent stay as they are."""

    name: Annotated[Name | MISSING, _NAME] = MISSING
    url: Annotated[Address | MISSING | None, _URL] = MISSING
    icon: Annotated[Name | MISSING | None, _ICON] = MISSING
    parent_id: Annotated[UUID | MISSING | None, _PARENT_ID] = MISSING
    position: Annotated[Position | MISSING, _POSITION] = MISSING
    resource: Annotated[Resource | MISSING | None, _RESOURCE] = MISSING
    create_url: Annotated[Address | MISSING | None, _CREATE_URL] = MISSING
    list_url: Annotated[Address | MISSING | None, _LIST_URL] = MISSING
    hidden_for_roles: Annotated[Ids | MISSING, _HIDDEN_FOR_ROLES] = MISSING
    hidden_for_users: Annotated[Ids | MISSING, _HIDDEN_FOR_USERS] = MISSING

    def fields(self) -> MenuFields:
        """Return the fields that were sent."""
        return MenuFields(
            name=self.name,
            url=self.url,
            icon=self.icon,
            parent_id=self.parent_id,
            position=self.position,
            resource=self.resource,
            create_url=self.create_url,
            list_url=self.list_url,
            hidden_for_roles=self.hidden_for_roles,
            hidden_for_users=self.hidden_for_users,
        )


class Menu(ResponseModel):
    """A menu entry, with the roles and users that it is hidden for."""

    id: Annotated[UUID, _ID]
    name: Annotated[str, _NAME]
    url: Annotated[str | None, _URL]
    icon: Annotated[str | None, _ICON]
    parent_id: Annotated[UUID | None, _PARENT_ID]
    position: Annotated[int, _POSITION]
    resource: Annotated[str | None, _RESOURCE]
    create_url: Annotated[str | None, _CREATE_URL]
    list_url: Annotated[str | None, _LIST_URL]
    hidden_for_roles: Annotated[list[UUID], _HIDDEN_FOR_ROLES, Field(examples=[[]])]
    hidden_for_users: Annotated[list[UUID], _HIDDEN_FOR_USERS, Field(examples=[[EXAMPLE_ID]])]
    created_at: CreatedAt
    updated_at: UpdatedAt

    @classmethod
    def of(cls, row: models.MenuEntry) -> Self:
        """Make the response from a row."""
        return cls(
            id=row.id,
            name=row.name,
            url=row.url,
            icon=row.icon,
            parent_id=row.parent_id,
            position=row.position,
            resource=row.resource,
            create_url=row.create_url,
            list_url=row.list_url,
            hidden_for_roles=row.hidden_for_roles,
            hidden_for_users=row.hidden_for_users,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class MenuPage(CountedPage[Menu]):
    """A page of menu entries."""


class VisibleMenu(ResponseModel):
    """A menu entry, as the signed-in user sees it."""

    id: Annotated[UUID, _ID]
    name: Annotated[str, _NAME]
    url: Annotated[str | None, _URL]
    icon: Annotated[str | None, _ICON]
    create_url: Annotated[str | None, _CREATE_URL]
    list_url: Annotated[str | None, _LIST_URL]
    is_view: Annotated[bool, Field(description="Whether the user may view the resource.", examples=[True])]
    is_create: Annotated[bool, Field(description="Whether the user may create one.", examples=[True])]
    is_update: Annotated[bool, Field(description="Whether the user may change one.", examples=[True])]
    is_delete: Annotated[bool, Field(description="Whether the user may delete one.", examples=[False])]
    sub_menus: Annotated[list[VisibleMenu], Field(description="The entries below it, in order.", examples=[[]])]

    @classmethod
    def of(cls, node: MenuNode) -> Self:
        """Make the response from an entry with all entries below it."""
        entry = node.entry
        return cls(
            id=entry.id,
            name=entry.name,
            url=entry.url,
            icon=entry.icon,
            create_url=entry.create_url,
            list_url=entry.list_url,
            is_view=Action.VIEW in node.actions,
            is_create=Action.CREATE in node.actions,
            is_update=Action.UPDATE in node.actions,
            is_delete=Action.DELETE in node.actions,
            sub_menus=[VisibleMenu.of(child) for child in node.children],
        )


class MyMenu(ResponseModel):
    """The menu that an organisation's own front end shows the signed-in user."""

    menu: Annotated[list[VisibleMenu], Field(description="The menu entries that you see, in order.")]
    designation: Designation
    session_time_in_minutes: SessionMinutes

    @classmethod
    def of(cls, user: Principal, menu: Iterable[MenuNode]) -> Self:
        """Make the response to this user."""
        return cls(
            menu=[VisibleMenu.of(node) for node in menu],
            designation=user.role_name,
            session_time_in_minutes=to_minutes(user.session_lifetime),
        )


def to_minutes(duration: timedelta) -> int:
    """Return a duration in minutes, rounded down."""
    return duration // timedelta(minutes=1)
