"""Refusals about menus."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict, NotFound
from app.menus.rules import MAX_DEPTH, MAX_MENUS


class MenuNotFound(NotFound):
    """The caller's organisation has no menu entry with this id."""

    code = "menu_not_found"
    title = "There is no such menu."


class MenuTooDeep(BadInput):
    """The menu would have too many levels."""

    code = "menu_too_deep"
    title = f"A menu can have at most {MAX_DEPTH} levels."
    field = "parentId"


class MenuCycle(BadInput):
    """An entry would be its own descendant."""

    code = "menu_cycle"
    title = "A menu entry cannot be moved below itself."
    field = "parentId"


class MenuHasChildren(Conflict):
    """The entry has children."""

    code = "menu_has_children"
    title = "The menu entry has children: move or delete them first."


class TooManyMenus(Conflict):
    """The organisation has `MAX_MENUS` entries already."""

    code = "too_many_menus"
    title = f"An organisation can have at most {MAX_MENUS} menu entries: delete one first."
