"""Create, change, move and delete menu entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import MISSING
from pydantic.alias_generators import to_camel
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.access.user_permissions import Resource
from app.accounts.roles import queries as roles
from app.core.changes import Changes
from app.core.clock import real_now
from app.core.errors import BadInput, FieldError
from app.core.ids import new_id
from app.core.outbox.events import record
from app.menus import queries, rules
from app.menus.errors import MenuCycle, MenuEntryHasChildren, MenuTooDeep, TooManyMenuEntries
from app.menus.events import MenuCreated, MenuDeleted, MenuUpdated
from app.menus.models import MenuEntry
from app.menus.rules import MAX_DEPTH, MAX_MENU_ENTRIES, Parents
from app.organisations.queries import lock_organisation


@dataclass(frozen=True, kw_only=True)
class MenuFields(Changes):
    """The columns of an entry that a client sets."""

    name: str | MISSING = MISSING
    url: str | MISSING | None = MISSING
    icon: str | MISSING | None = MISSING
    parent_id: UUID | MISSING | None = MISSING
    position: int | MISSING = MISSING
    resource: Resource | MISSING | None = MISSING
    create_url: str | MISSING | None = MISSING
    list_url: str | MISSING | None = MISSING
    hidden_for_roles: list[UUID] | MISSING = MISSING
    hidden_for_users: list[UUID] | MISSING = MISSING


async def create(db: AsyncSession, caller: UserCaller, fields: MenuFields) -> MenuEntry:
    """Create an entry. Without a `position`, it is the last of its siblings.

    Raises:
        MenuTooDeep, TooManyMenuEntries
        BadInput: The parent, or a role or user to hide the entry from, does not exist.
    """
    await lock_organisation(db, caller.org_id)
    positions = await queries.load_positions(db, caller.org_id)
    if len(positions) >= MAX_MENU_ENTRIES:
        raise TooManyMenuEntries
    parent_id = None if fields.parent_id is MISSING else fields.parent_id
    _check_parent(_map_parents(positions), None, parent_id)
    values = fields.values
    await _check_hidden(db, caller.org_id, values)
    now, siblings = real_now(), [position for parent, position in positions.values() if parent == parent_id]
    defaults: dict[str, Any] = {
        "position": rules.next_position(siblings),
        "hidden_for_roles": [],
        "hidden_for_users": [],
    }
    menu = MenuEntry(org_id=caller.org_id, id=new_id(), created_at=now, updated_at=now, **(defaults | values))
    db.add(menu)
    record(db, MenuCreated(at=caller.now, actor=caller.actor, menu_id=menu.id))
    return menu


async def change(db: AsyncSession, caller: UserCaller, menu_id: UUID, changes: MenuFields) -> MenuEntry:
    """Change an entry. Its descendants move with it. Unchanged values are ignored.

    Raises:
        MenuEntryNotFound, MenuTooDeep, MenuCycle
        BadInput: The parent, or a role or user to hide the entry from, does not exist.
    """
    await lock_organisation(db, caller.org_id)
    menu = await queries.get_menu_entry(db, caller.org_id, menu_id)
    different = changes.values_differing_from(menu)
    if not different:
        return menu
    if "parent_id" in different:
        parents = _map_parents(await queries.load_positions(db, caller.org_id))
        _check_parent(parents, menu_id, different["parent_id"])
    await _check_hidden(db, caller.org_id, different, menu)
    for name, value in different.items():
        setattr(menu, name, value)
    menu.updated_at = real_now()
    fields = sorted(to_camel(name) for name in different)
    record(db, MenuUpdated(at=caller.now, actor=caller.actor, menu_id=menu.id, fields=fields))
    return menu


async def delete(db: AsyncSession, caller: UserCaller, menu_id: UUID) -> None:
    """Delete an entry without children.

    Raises:
        MenuEntryNotFound, MenuEntryHasChildren
    """
    await lock_organisation(db, caller.org_id)
    menu = await queries.get_menu_entry(db, caller.org_id, menu_id)
    if menu_id in _map_parents(await queries.load_positions(db, caller.org_id)).values():
        raise MenuEntryHasChildren
    await db.delete(menu)
    record(db, MenuDeleted(at=caller.now, actor=caller.actor, menu_id=menu_id))


def _map_parents(positions: Mapping[UUID, tuple[UUID | None, int]]) -> Parents:
    return {menu_id: parent_id for menu_id, (parent_id, _) in positions.items()}


def _check_parent(parents: Parents, menu_id: UUID | None, parent_id: UUID | None) -> None:
    """Check that an entry (`None` for a new one) can be placed below this parent.

    The caller must hold the lock on the organisation: two concurrent moves could form a cycle that neither sees.
    """
    if parent_id is not None and parent_id not in parents:
        raise BadInput.of_field("parentId", "There is no menu entry with this id.")
    if menu_id is not None and rules.is_in_subtree(parents, parent_id, menu_id):
        raise MenuCycle
    height = 1 if menu_id is None else rules.compute_height(parents, menu_id)
    if rules.compute_depth(parents, parent_id) + height > MAX_DEPTH:
        raise MenuTooDeep


async def _check_hidden(
    db: AsyncSession, org_id: UUID, fields: Mapping[str, Any], menu: MenuEntry | None = None
) -> None:
    """Check that added roles and users exist. Ids that the entry has already are not checked: they may be outdated."""
    faults: list[FieldError] = []
    added_roles = set(fields.get("hidden_for_roles", ())) - set(menu.hidden_for_roles if menu else ())
    if added_roles - await roles.filter_existing(db, org_id, added_roles):
        faults.append(FieldError("hiddenForRoles", "One of these ids is not the id of a role."))
    added_users = set(fields.get("hidden_for_users", ())) - set(menu.hidden_for_users if menu else ())
    if added_users - await queries.filter_existing_users(db, org_id, added_users):
        faults.append(FieldError("hiddenForUsers", "One of these ids is not the id of a user."))
    if faults:
        raise BadInput(errors=faults)
