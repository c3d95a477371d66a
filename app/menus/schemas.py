"""What crosses the wire about menus."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictInt, StringConstraints

from app.access.permissions import Action, Resource
from app.core.fields import EXAMPLE_ID, In, Name, Out, OutTime
from app.core.web.paging import CountedPage
from app.menus.models import Menu
from app.menus.rules import MAX_POSITION, MenuNode, validate_url

MAX_HIDDEN = 100

Address = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    AfterValidator(validate_url),
]


def _once(ids: list[UUID]) -> list[UUID]:
    return list(dict.fromkeys(ids))


Ids = Annotated[list[UUID], Field(max_length=MAX_HIDDEN), AfterValidator(_once)]

EntryName = Annotated[Name, Field(examples=["Tickets"])]
Url = Annotated[
    Address | None,
    Field(description="Where it leads: a path, or an address of http or https.", examples=["/tickets"]),
]
Icon = Annotated[Name | None, Field(description="Whatever your front end understands.", examples=["ticket"])]
ParentId = Annotated[UUID | None, Field(description="The entry that it is below; null at the top.")]
Position = Annotated[StrictInt, Field(ge=0, le=MAX_POSITION, examples=[1])]
MenuResource = Annotated[
    Resource | None, Field(description="Only who may view this sees the entry.", examples=["tickets"])
]
CreateUrl = Annotated[Address | None, Field(description="Where one is made.", examples=["/tickets/new"])]
ListUrl = Annotated[Address | None, Field(description="Where they are listed.", examples=["/tickets"])]
HiddenForRoles = Annotated[Ids, Field(description="Ids of roles that do not see it, built-in ones too; all of them.")]
HiddenForUsers = Annotated[Ids, Field(description="Ids of users who do not see it; all of them.")]


class MenuIn(In):
    """A new entry."""

    name: EntryName
    url: Url = None
    icon: Icon = None
    parent_id: ParentId = None
    position: Annotated[Position, Field(description="Its place beside others: last, if it is not given.")] = None  # type: ignore[assignment]
    resource: MenuResource = None
    create_url: CreateUrl = None
    list_url: ListUrl = None
    hidden_for_roles: HiddenForRoles = None  # type: ignore[assignment]
    hidden_for_users: HiddenForUsers = None  # type: ignore[assignment]


class MenuChange(In):
    """Any of these."""

    name: EntryName = None  # type: ignore[assignment]
    url: Url = None
    icon: Icon = None
    parent_id: ParentId = None
    position: Annotated[Position, Field(description="Its place beside others.")] = None  # type: ignore[assignment]
    resource: MenuResource = None
    create_url: CreateUrl = None
    list_url: ListUrl = None
    hidden_for_roles: HiddenForRoles = None  # type: ignore[assignment]
    hidden_for_users: HiddenForUsers = None  # type: ignore[assignment]


class MenuOut(Out):
    """An entry of the menu, as those who arrange it see it."""

    id: UUID
    name: Annotated[str, Field(examples=["Tickets"])]
    url: Annotated[str | None, Field(examples=["/tickets"])]
    icon: Annotated[str | None, Field(examples=["ticket"])]
    parent_id: ParentId
    position: Annotated[int, Field(description="Its place beside others.", examples=[1])]
    resource: Annotated[str | None, Field(examples=["tickets"])]
    create_url: Annotated[str | None, Field(examples=["/tickets/new"])]
    list_url: Annotated[str | None, Field(examples=["/tickets"])]
    hidden_for_roles: Annotated[list[UUID], Field(description="Ids of roles that do not see it.", examples=[[]])]
    hidden_for_users: Annotated[
        list[UUID], Field(description="Ids of users who do not see it.", examples=[[EXAMPLE_ID]])
    ]
    created_at: OutTime
    updated_at: OutTime

    @classmethod
    def of(cls, row: Menu) -> Self:
        """The answer about this row."""
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


class MenuPage(CountedPage[MenuOut]):
    """A page of menus."""


class MenuBranch(Out):
    """An entry as the signed-in user sees it."""

    id: UUID
    name: Annotated[str, Field(examples=["Tickets"])]
    url: Annotated[str | None, Field(description="Null for a mere heading.", examples=["/tickets"])]
    icon: Annotated[str | None, Field(examples=["ticket"])]
    create_url: Annotated[str | None, Field(examples=["/tickets/new"])]
    list_url: Annotated[str | None, Field(examples=["/tickets"])]
    is_view: Annotated[bool, Field(description="Whether they may view its resource.", examples=[True])]
    is_create: Annotated[bool, Field(description="Whether they may create one.", examples=[True])]
    is_update: Annotated[bool, Field(description="Whether they may change one.", examples=[True])]
    is_delete: Annotated[bool, Field(description="Whether they may delete one.", examples=[False])]
    sub_menus: Annotated[list[MenuBranch], Field(description="The entries below it, in order.", examples=[[]])]

    @classmethod
    def of(cls, branch: MenuNode) -> Self:
        """The answer about this branch, with all that is below it."""
        entry = branch.entry
        return cls(
            id=entry.id,
            name=entry.name,
            url=entry.url,
            icon=entry.icon,
            create_url=entry.create_url,
            list_url=entry.list_url,
            is_view=Action.VIEW in branch.actions,
            is_create=Action.CREATE in branch.actions,
            is_update=Action.UPDATE in branch.actions,
            is_delete=Action.DELETE in branch.actions,
            sub_menus=[MenuBranch.of(one) for one in branch.children],
        )
