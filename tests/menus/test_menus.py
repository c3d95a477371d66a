"""Managing the menu of an organisation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from app.accounts.roles.rules import ENGINEER
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.ids import new_id
from app.menus.defaults import DEFAULT_MENU, DefaultEntry
from app.menus.models import MenuEntry
from app.menus.rules import MAX_MENU_ENTRIES
from tests.accounts.users_and_roles import add_role, add_user
from tests.menus.menus import create_chain, create_menu, list_menus, menu_events, read_menu
from tests.organisation_client import JSON, Desk
from tests.problems import assert_problem, read_invalid_fields

NO_ID = "0190b8e5-0000-7000-8000-000000000001"

# --- the default menu -------------------------------------------------------------------------------------------------


def _flat(entries: tuple[DefaultEntry, ...], parent: int | None = None) -> set[tuple[object, ...]]:
    found: set[tuple[object, ...]] = set()
    for position, entry in enumerate(entries, start=1):
        found.add(
            (entry.name, entry.url, entry.icon, position, entry.resource, entry.create_url, entry.list_url, parent)
        )
        found |= _flat(entry.children, position)
    return found


async def test_a_new_organisation_has_the_default_menus(desk: Desk) -> None:
    items = await list_menus(desk)
    by_id = {item["id"]: item for item in items}
    found = {
        (
            item["name"], item["url"], item["icon"], item["position"], item["resource"], item["createUrl"],
            item["listUrl"], by_id[item["parentId"]]["position"] if item["parentId"] else None,
        )
        for item in items
    }  # fmt: skip
    assert found == _flat(DEFAULT_MENU)
    assert len(items) == len(found)
    assert not any(item["hiddenForRoles"] or item["hiddenForUsers"] for item in items)


# --- creating and listing ---------------------------------------------------------------------------------------------


async def test_a_created_entry_has_the_given_fields(desk: Desk) -> None:
    colleague = await desk.another_admin()
    parent = await create_menu(desk.admin)
    fields = {
        "name": "Orders", "url": "https://shop.example/orders", "icon": "cart", "parentId": parent["id"], "position": 7,
        "resource": "stores", "createUrl": "/orders/new", "listUrl": "/orders?status=OPEN",
        "hiddenForRoles": [str(ENGINEER.id), str(await add_role(desk))], "hiddenForUsers": [str(colleague.id)],
    }  # fmt: skip
    menu = await create_menu(desk.admin, **fields)
    assert {name: menu[name] for name in fields} == fields
    assert menu.keys() - fields.keys() == {"id", "createdAt", "updatedAt"}
    assert await read_menu(desk.admin, menu) == menu
    assert (await menu_events(desk))[-1] == ("menu.created", {"menuId": menu["id"]})


async def test_an_entry_needs_only_a_name(desk: Desk) -> None:
    answer = await desk.admin.post("/menus", {"name": " Help "})
    assert answer.status_code == 201
    menu = answer.json()
    assert (menu["name"], menu["hiddenForRoles"], menu["hiddenForUsers"]) == ("Help", [], [])
    for unset in ("url", "icon", "parentId", "resource", "createUrl", "listUrl"):
        assert menu[unset] is None


async def test_a_new_entry_is_the_last_of_its_siblings(desk: Desk) -> None:
    parent = await create_menu(desk.admin)
    assert parent["position"] == len(DEFAULT_MENU) + 1
    for position, expected in (({}, 1), ({}, 2), ({"position": 9000}, 9000), ({}, 9001)):
        assert (await create_menu(desk.admin, parentId=parent["id"], **position))["position"] == expected
    await create_menu(desk.admin, parentId=parent["id"], position=10_000)
    assert (await create_menu(desk.admin, parentId=parent["id"]))["position"] == 10_000


async def test_all_entries_are_listed_newest_first_over_several_pages(desk: Desk) -> None:
    own = [(await create_menu(desk.admin, name=name))["id"] for name in ("One", "Two", "Three")]
    found: list[str] = []
    cursor = None
    while cursor is not None or not found:
        query: dict[str, Any] = {"limit": 4, "include": "total"} | ({"cursor": cursor} if cursor else {})
        page = (await desk.admin.get("/menus", params=query)).json()
        assert page["total"] == 11
        found += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert found[:3] == own[::-1]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 11


async def test_a_cursor_of_another_list_is_rejected(desk: Desk) -> None:
    cursor = (await desk.admin.get("/roles", params={"limit": 1})).json()["nextCursor"]
    answer = await desk.admin.get("/menus", params={"cursor": cursor})
    assert read_invalid_fields(answer, "invalid_cursor") == {"cursor"}


INVALID_FIELDS = [
    ({"name": ""}, "name"),
    ({"name": None}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"url": "javascript:alert(1)"}, "url"),
    ({"url": "//evil.example"}, "url"),
    ({"url": "/" + "x" * 500}, "url"),
    ({"url": ""}, "url"),
    ({"createUrl": "data:text/html,hi"}, "createUrl"),
    ({"listUrl": "/\\evil.example"}, "listUrl"),
    ({"icon": "a\0b"}, "icon"),
    ({"position": -1}, "position"),
    ({"position": 10_001}, "position"),
    ({"position": "1"}, "position"),
    ({"position": 1.5}, "position"),
    ({"position": True}, "position"),
    ({"position": None}, "position"),
    ({"resource": "teapots"}, "resource"),
    ({"parentId": NO_ID}, "parentId"),
    ({"parentId": "top"}, "parentId"),
    ({"hiddenForRoles": [NO_ID]}, "hiddenForRoles"),
    ({"hiddenForRoles": [str(ENGINEER.id), NO_ID]}, "hiddenForRoles"),
    ({"hiddenForRoles": None}, "hiddenForRoles"),
    ({"hiddenForUsers": [NO_ID]}, "hiddenForUsers"),
    ({"hiddenForUsers": ["ada@growfin.test"]}, "hiddenForUsers.0"),
    ({"hiddenForUsers": [str(ENGINEER.id)]}, "hiddenForUsers"),
    ({"hiddenForUsers": [NO_ID] * 101}, "hiddenForUsers"),
    ({"id": NO_ID}, "id"),
    ({"orgId": NO_ID}, "orgId"),
    ({"subMenus": []}, "subMenus"),
]


@pytest.mark.parametrize(("fields", "wrong"), INVALID_FIELDS)
async def test_an_invalid_field_is_reported_and_changes_nothing(desk: Desk, fields: JSON, wrong: str) -> None:
    menu = await create_menu(desk.admin)
    before = await list_menus(desk)
    assert read_invalid_fields(await desk.admin.post("/menus", {"name": "New", **fields})) == {wrong}
    assert read_invalid_fields(await desk.admin.patch(f"/menus/{menu['id']}", {"icon": "new", **fields})) == {wrong}
    assert await list_menus(desk) == before
    assert len(await menu_events(desk)) == 1


async def test_repeated_ids_are_stored_once(desk: Desk) -> None:
    menu = await create_menu(desk.admin, hiddenForRoles=[str(ENGINEER.id)] * 3)
    assert menu["hiddenForRoles"] == [str(ENGINEER.id)]


async def test_the_limit_of_entries_holds_for_concurrent_requests(desk: Desk) -> None:
    now = real_now()
    same = {"org_id": desk.id, "name": "Entry", "position": 1, "created_at": now, "updated_at": now}
    async with desk.database.session(desk.id) as db:
        present = len((await db.scalars(select(MenuEntry.id).where(MenuEntry.org_id == desk.id))).all())
        await db.execute(insert(MenuEntry), [{"id": new_id(), **same} for _ in range(MAX_MENU_ENTRIES - 1 - present)])
    answers = await asyncio.gather(*(desk.admin.post("/menus", {"name": "New"}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert_problem(await desk.admin.post("/menus", {"name": "One more"}), 409, "too_many_menus")


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_fields_can_be_changed_and_cleared(desk: Desk) -> None:
    menu = await create_menu(desk.admin, icon="cart", resource="stores", createUrl="/new", listUrl="/all")
    changes = {
        "name": "Shop", "url": None, "icon": None, "position": 3, "resource": None, "createUrl": "/other",
        "listUrl": None, "hiddenForRoles": [str(ENGINEER.id)], "hiddenForUsers": [str(desk.admin.id)],
    }  # fmt: skip
    answer = await desk.admin.patch(f"/menus/{menu['id']}", changes)
    assert answer.status_code == 200
    changed = answer.json()
    assert changed == menu | changes | {"updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > menu["updatedAt"]
    assert await read_menu(desk.admin, menu) == changed
    assert (await menu_events(desk))[-1] == ("menu.updated", {"menuId": menu["id"], "fields": sorted(changes)})


async def test_the_same_values_again_change_nothing(desk: Desk) -> None:
    menu = await create_menu(desk.admin, hiddenForRoles=[str(ENGINEER.id)])
    same = {name: value for name, value in menu.items() if name not in {"id", "createdAt", "updatedAt"}}
    for body in ({}, same):
        assert (await desk.admin.patch(f"/menus/{menu['id']}", body)).json() == menu
    assert len(await menu_events(desk)) == 1


async def test_deleted_roles_may_stay_in_a_list_but_erased_users_cannot_be_added(desk: Desk) -> None:
    role_id, erased = await add_role(desk), await add_user(desk, status=AccountStatus.ERASED)
    menu = await create_menu(desk.admin, hiddenForRoles=[str(role_id)])
    assert (await desk.admin.delete(f"/roles/{role_id}")).status_code == 204
    path = f"/menus/{menu['id']}"
    more = await desk.admin.patch(path, {"hiddenForRoles": [str(role_id), str(ENGINEER.id)]})
    assert more.json()["hiddenForRoles"] == [str(role_id), str(ENGINEER.id)]
    assert read_invalid_fields(await desk.admin.patch(path, {"hiddenForUsers": [str(erased.id)]})) == {"hiddenForUsers"}


# --- deleting ---------------------------------------------------------------------------------------------------------


async def test_an_entry_can_be_deleted_once_it_has_no_children(desk: Desk) -> None:
    one, two = await create_chain(desk.admin, 2)
    assert_problem(await desk.admin.delete(f"/menus/{one['id']}"), 409, "menu_has_children")
    for menu in (two, one):
        answer = await desk.admin.delete(f"/menus/{menu['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert_problem(await desk.admin.get(f"/menus/{menu['id']}"), 404, "menu_not_found")
        assert_problem(await desk.admin.delete(f"/menus/{menu['id']}"), 404, "menu_not_found")
        assert (await menu_events(desk))[-1] == ("menu.deleted", {"menuId": menu["id"]})


async def test_a_concurrent_deletion_or_new_child_fails(desk: Desk) -> None:
    for _ in range(5):
        menu = await create_menu(desk.admin)
        deleted, child = await asyncio.gather(
            desk.admin.delete(f"/menus/{menu['id']}"), desk.admin.post("/menus", {"name": "B", "parentId": menu["id"]})
        )
        if deleted.status_code == 204:
            assert read_invalid_fields(child) == {"parentId"}
        else:
            assert_problem(deleted, 409, "menu_has_children")
            assert child.status_code == 201


async def test_an_organisation_without_a_menu_can_create_one(desk: Desk) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(delete(MenuEntry).where(MenuEntry.org_id == desk.id, MenuEntry.parent_id.is_not(None)))
        await db.execute(delete(MenuEntry).where(MenuEntry.org_id == desk.id))
    assert await list_menus(desk) == []
    assert (await create_menu(desk.admin))["position"] == 1
