"""What happens to menus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class MenuCreated(Event):
    """An entry was added."""

    type: ClassVar[str] = "menu.created"

    menu_id: UUID


@dataclass(frozen=True, kw_only=True)
class MenuUpdated(Event):
    """An entry changed: the names of the fields."""

    type: ClassVar[str] = "menu.updated"

    menu_id: UUID
    fields: list[str]


@dataclass(frozen=True, kw_only=True)
class MenuDeleted(Event):
    """An entry is gone."""

    type: ClassVar[str] = "menu.deleted"

    menu_id: UUID
