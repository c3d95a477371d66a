"""Errors about menus."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict, NotFound
from app.menus.rules import MAX_DEPTH, MAX_MENU_ENTRIES


class MenuEntryNotFound(NotFound):
    """Your organisation has no menu entry with this id."""

    code = "menu_not_found"
    title = "There is no such menu entry."
    advice = "`GET /menus` lists the entries."


class MenuTooDeep(BadInput):
    """The menu would have too many levels."""

    code = "menu_too_deep"
    title = f"A menu can have at most {MAX_DEPTH} levels: choose a parent on a higher level."
    field = "parentId"


class MenuCycle(BadInput):
    """The new parent is the entry itself or one of its descendants."""

    code = "menu_cycle"
    title = "A menu entry cannot be moved below itself or one of its descendants. Choose another parent."
    field = "parentId"


class MenuEntryHasChildren(Conflict):
    """The entry has children."""

    code = "menu_has_children"
    title = "The menu entry has children: move or delete them first."


class TooManyMenuEntries(Conflict):
    """Your organisation has as many menu entries as it can have."""

    code = "too_many_menus"
    title = f"An organisation can have at most {MAX_MENU_ENTRIES} menu entries: delete one first."
