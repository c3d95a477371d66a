"""The menu that the signed-in user sees."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from app.access.user_permissions import RoleKind
from app.accounts.roles.rules import ADMIN, ENGINEER
from app.core.database.pool import Database
from app.menus.models import MenuEntry
from tests.accounts.users_and_roles import add_role, add_signed_in_user, add_user_with_permissions
from tests.organisation_client import JSON, PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.services import create_user

DAY, MONTH = 1440, 43_200  # minutes


async def my_menu(user: SignedInUser) -> JSON:
    answer = await user.get("/me/menu")
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    assert found.keys() == {"menu", "designation", "sessionTimeInMinutes"}
    return found


def outline(nodes: list[JSON]) -> list[Any]:
    """Return the names, each with those of its children."""
    return [(one["name"], outline(one["subMenus"])) if one["subMenus"] else one["name"] for one in nodes]


async def visible_names(user: SignedInUser) -> list[Any]:
    return outline((await my_menu(user))["menu"])


def action_letters(node: JSON) -> str:
    """Return the permitted actions as letters."""
    flags = {"isView": "v", "isCreate": "c", "isUpdate": "u", "isDelete": "d"}
    return "".join(letter for flag, letter in flags.items() if node[flag])


async def create_menu(desk: Desk, **fields: object) -> JSON:
    answer = await desk.admin.post("/menus", {"name": "Entry", "url": "/somewhere", **fields})
    assert answer.status_code == 201, answer.text
    menu: JSON = answer.json()
    return menu


async def clear(desk: Desk) -> None:
    """Delete the default menus."""
    async with desk.database.session(desk.id) as db:
        await db.execute(delete(MenuEntry).where(MenuEntry.org_id == desk.id, MenuEntry.parent_id.is_not(None)))
        await db.execute(delete(MenuEntry).where(MenuEntry.org_id == desk.id))


WHOLE_MENU = ["Tickets", "Notifications", ("Users", ["Users", "Roles"]), ("Settings", ["Organisation", "Menus"])]


async def test_an_admin_sees_the_whole_menu(desk: Desk) -> None:
    found = await my_menu(desk.admin)
    assert (found["designation"], found["sessionTimeInMinutes"]) == ("Admin", DAY)
    assert outline(found["menu"]) == WHOLE_MENU
    tickets, _, users, _ = found["menu"]
    tickets.pop("id")
    assert tickets == {
        "name": "Tickets", "url": "/tickets", "icon": "ticket", "createUrl": "/tickets/new", "listUrl": "/tickets",
        "isView": True, "isCreate": True, "isUpdate": True, "isDelete": True, "subMenus": [],
    }  # fmt: skip
    assert (action_letters(users), action_letters(users["subMenus"][0])) == ("v", "vcud")


async def test_an_engineer_sees_the_permitted_entries(desk: Desk) -> None:
    found = await my_menu(await add_signed_in_user(desk, RoleKind.ENGINEER))
    assert found["designation"] == "Engineer"
    assert outline(found["menu"]) == ["Tickets", ("Users", ["Users"]), ("Settings", ["Organisation"])]
    assert (action_letters(found["menu"][0]), action_letters(found["menu"][1]["subMenus"][0])) == ("vcu", "v")


async def test_a_customer_sees_the_permitted_entries(desk: Desk) -> None:
    found = await my_menu(await add_signed_in_user(desk, RoleKind.CUSTOMER))
    assert found["designation"] == "Customer"
    assert outline(found["menu"]) == ["Tickets", ("Settings", ["Organisation"])]


async def test_a_custom_role_sees_the_permitted_entries(desk: Desk) -> None:
    table = [{"resource": "roles", "view": True, "delete": True}, {"resource": "menus", "create": True}]
    role = (await desk.admin.post("/roles", {"name": "Keeper", "permissions": table})).json()
    found = await my_menu(await add_signed_in_user(desk, role_id=UUID(role["id"])))
    assert found["designation"] == "Keeper"
    assert outline(found["menu"]) == [("Users", ["Roles"])]
    assert action_letters(found["menu"][0]["subMenus"][0]) == "vd"


async def test_permission_overrides_apply(desk: Desk) -> None:
    user = await add_signed_in_user(desk, granted=["menus:view"], denied=["tickets:view", "users:view"])
    assert await visible_names(user) == [("Settings", ["Organisation", "Menus"])]


async def test_entries_without_a_resource_need_no_permission(desk: Desk) -> None:
    user = await add_user_with_permissions(desk)
    assert await visible_names(user) == []
    await create_menu(desk, name="Help", url="https://help.example/")
    assert await visible_names(user) == ["Help"]


async def test_an_entry_can_be_hidden_for_a_role(desk: Desk) -> None:
    role_id = await add_role(desk, "stores:view")
    agent, engineer = await add_signed_in_user(desk, role_id=role_id), await add_signed_in_user(desk)
    await clear(desk)
    await create_menu(desk, name="Not for agents", resource="stores", hiddenForRoles=[str(role_id)])
    await create_menu(desk, name="Not for engineers", resource="stores", hiddenForRoles=[str(ENGINEER.id)])
    await create_menu(desk, name="For neither", resource="stores", hiddenForRoles=[str(ENGINEER.id), str(role_id)])
    assert await visible_names(engineer) == ["Not for agents"]
    assert await visible_names(agent) == ["Not for engineers"]
    assert await visible_names(desk.admin) == ["Not for agents", "Not for engineers", "For neither"]


async def test_an_entry_can_be_hidden_for_a_user(desk: Desk) -> None:
    colleague = await desk.another_admin()
    await clear(desk)
    parent = await create_menu(desk, name="Parent", hiddenForUsers=[str(colleague.id)])
    await create_menu(desk, name="Child", parentId=parent["id"])
    assert await visible_names(colleague) == []
    assert await visible_names(desk.admin) == [("Parent", ["Child"])]
    await desk.admin.patch(f"/menus/{parent['id']}", {"hiddenForUsers": []})
    assert await visible_names(colleague) == [("Parent", ["Child"])]


async def test_the_order_is_that_of_positions_and_then_names(desk: Desk) -> None:
    await clear(desk)
    for name, position in (("C", 2), ("B", 2), ("D", 1), ("A", 3)):
        await create_menu(desk, name=name, position=position)
    assert await visible_names(desk.admin) == ["D", "B", "C", "A"]


async def test_a_change_of_the_role_is_seen_at_once(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    user = await add_user_with_permissions(desk, "tickets:view")
    assert await visible_names(user) == ["Tickets"]
    role_id = (await user.get("/me")).json()["roleId"]
    table = [{"resource": "roles", "view": True}]
    assert (await desk.admin.patch(f"/roles/{role_id}", {"permissions": table})).status_code == 200
    assert await visible_names(user) == [("Users", ["Roles"])]


async def test_each_organisation_has_its_own_menu(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    await create_menu(desk, name="Ours")
    assert await visible_names(desk.admin) == [*WHOLE_MENU, "Ours"]
    assert await visible_names(other.admin) == WHOLE_MENU


async def test_only_signed_in_users_have_a_menu(api: Api, desk: Desk) -> None:
    assert_problem(await api.http.get("/me/menu"), 401, "missing_credential")
    assert_problem(await api.http.get("/me/menu", headers={"X-Org-Secret": desk.secret}), 403, "access_token_required")


# --- signing in -------------------------------------------------------------------------------------------------------


async def sign_in_with_password(desk: Desk, user: SignedInUser, **fields: object) -> JSON:
    body = {"email": user.email, "password": PASSWORD, "org": desk.domain, **fields}
    answer = await desk.api.http.post("/auth/signin", json=body)
    assert answer.status_code == 200, answer.text
    signed_in: JSON = answer.json()
    return signed_in


@pytest.mark.parametrize(("remember", "minutes"), [(False, DAY), (True, MONTH)])
async def test_the_sign_in_response_has_the_same_menu(desk: Desk, remember: bool, minutes: int) -> None:
    user = await create_user(desk)
    await create_menu(desk, name=f"Entry {uuid4().hex}")
    await create_menu(desk, name="Hidden", hiddenForRoles=[str(ADMIN.id)])
    signed_in = await sign_in_with_password(desk, user, rememberMe=remember)
    assert signed_in["sessionTimeInMinutes"] == minutes
    assert len(signed_in["menu"]) == len(WHOLE_MENU) + 1
    headers = {"Authorization": f"Bearer {signed_in['accessToken']}"}
    later = (await desk.api.http.get("/me/menu", headers=headers)).json()
    assert later == {name: signed_in[name] for name in ("menu", "designation", "sessionTimeInMinutes")}
