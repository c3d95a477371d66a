"""Events of menus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from app.core.outbox.events import Event, Subject


@dataclass(frozen=True, kw_only=True)
class MenuEvent(Event):
    """An event of a menu entry."""

    menu_id: Subject


@dataclass(frozen=True, kw_only=True)
class MenuCreated(MenuEvent):
    """A menu entry was added."""

    type: ClassVar[str] = "menu.created"


@dataclass(frozen=True, kw_only=True)
class MenuUpdated(MenuEvent):
    """A menu entry changed. `fields` are the names of the changed fields."""

    type: ClassVar[str] = "menu.updated"

    fields: Annotated[list[str], Field(description="The names of the fields that changed.")]


@dataclass(frozen=True, kw_only=True)
class MenuDeleted(MenuEvent):
    """A menu entry was deleted."""

    type: ClassVar[str] = "menu.deleted"
