"""Menus: making, moving, changing and deleting the entries of an organisation's own front end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.roles import queries as roles
from app.core.clock import real_now
from app.core.errors import BadInput, Conflict, FieldError
from app.core.ids import new_id
from app.core.outbox.events import record
from app.menus import queries, rules
from app.menus.events import MenuCreated, MenuDeleted, MenuUpdated
from app.menus.models import Menu
from app.menus.rules import MAX_DEPTH, Parents
from app.organisations.queries import lock as lock_organisation

MAX_MENUS = 500


class MenuTooDeep(BadInput):
    """The tree would have too many levels."""

    code = "menu_too_deep"
    title = f"A menu has {MAX_DEPTH} levels at most."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("parentId", self.title)])


class MenuCycle(BadInput):
    """An entry would be below itself."""

    code = "menu_cycle"
    title = "A menu entry cannot be below itself."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("parentId", self.title)])


class MenuHasChildren(Conflict):
    """There are entries below it."""

    code = "menu_has_children"
    title = "There are entries below this one: move or delete them first."


class TooManyMenus(Conflict):
    """The organisation has as many entries as it may."""

    code = "too_many_menus"
    title = f"An organisation can have {MAX_MENUS} menu entries at most."


async def create(db: AsyncSession, caller: UserCaller, fields: Mapping[str, Any]) -> Menu:
    """Make an entry of these columns; without a `position`, it comes last among those beside it.

    Raises:
        MenuTooDeep, TooManyMenus
        BadInput: there is no such parent, or nobody and no role to hide it from.
    """
    await lock_organisation(db, caller.org_id)
    places = await queries.places(db, caller.org_id)
    if len(places) >= MAX_MENUS:
        raise TooManyMenus
    parent_id = fields.get("parent_id")
    _check_place(_parents(places), None, parent_id)
    await _check_hidden(db, caller.org_id, fields)
    now, beside = real_now(), [position for parent, position in places.values() if parent == parent_id]
    menu = Menu(
        **{
            "position": rules.next_position(beside),
            "hidden_for_roles": [],
            "hidden_for_users": [],
            **fields,
            "org_id": caller.org_id,
            "id": new_id(),
            "created_at": now,
            "updated_at": now,
        }
    )
    db.add(menu)
    record(db, MenuCreated(at=caller.now, actor=caller.actor, menu_id=menu.id))
    return menu


async def change(db: AsyncSession, caller: UserCaller, menu_id: UUID, changes: Mapping[str, Any]) -> Menu:
    """Change some columns of an entry; everything below it moves along. The same values again change nothing.

    Raises:
        MenuNotFound, MenuTooDeep, MenuCycle
        BadInput: there is no such parent, or nobody and no role to hide it from.
    """
    await lock_organisation(db, caller.org_id)
    menu = await queries.menu(db, caller.org_id, menu_id)
    different = {name: value for name, value in changes.items() if getattr(menu, name) != value}
    if not different:
        return menu
    if "parent_id" in different:
        parents = _parents(await queries.places(db, caller.org_id))
        _check_place(parents, menu_id, different["parent_id"])
    await _check_hidden(db, caller.org_id, different, menu)
    for name, value in different.items():
        setattr(menu, name, value)
    menu.updated_at = real_now()
    fields = sorted(to_camel(name) for name in different)
    record(db, MenuUpdated(at=caller.now, actor=caller.actor, menu_id=menu.id, fields=fields))
    return menu


async def delete(db: AsyncSession, caller: UserCaller, menu_id: UUID) -> None:
    """Delete an entry that has nothing below it.

    Raises:
        MenuNotFound, MenuHasChildren
    """
    await lock_organisation(db, caller.org_id)
    menu = await queries.menu(db, caller.org_id, menu_id)
    if menu_id in _parents(await queries.places(db, caller.org_id)).values():
        raise MenuHasChildren
    await db.delete(menu)
    record(db, MenuDeleted(at=caller.now, actor=caller.actor, menu_id=menu_id))


def _parents(places: Mapping[UUID, tuple[UUID | None, int]]) -> Parents:
    return {menu_id: parent_id for menu_id, (parent_id, _) in places.items()}


def _check_place(parents: Parents, menu_id: UUID | None, parent_id: UUID | None) -> None:
    """Whether an entry, or a new one, may stand below this parent.

    Two moves at once could make a cycle that neither sees: the organisation is locked meanwhile.
    """
    if parent_id is not None and parent_id not in parents:
        raise BadInput(errors=[FieldError("parentId", "There is no such menu.")])
    if menu_id is not None and rules.is_within(parents, parent_id, menu_id):
        raise MenuCycle
    height = 1 if menu_id is None else rules.height_of(parents, menu_id)
    if rules.depth_of(parents, parent_id) + height > MAX_DEPTH:
        raise MenuTooDeep


async def _check_hidden(db: AsyncSession, org_id: UUID, fields: Mapping[str, Any], menu: Menu | None = None) -> None:
    """Whom it is newly hidden from must exist. Who has gone may stay listed, so that a list can be sent back."""
    for name, known in (("hidden_for_roles", roles.known), ("hidden_for_users", queries.users)):
        listed: Collection[UUID] = fields.get(name, ())
        new = set(listed) - set(getattr(menu, name) if menu else ())
        if new - await known(db, org_id, new):
            raise BadInput(errors=[FieldError(to_camel(name), "There is nobody, or no role, of one of these ids.")])
