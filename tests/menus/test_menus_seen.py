"""The menu as the signed-in user sees it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from app.access.permissions import RoleKind
from app.accounts.roles.rules import ADMIN, ENGINEER
from app.core.database.pool import Database
from app.menus.models import Menu
from tests.accounts.crew import a_role, sign_in, with_only
from tests.desks import JSON, PASSWORD, Api, Desk, SignedInUser, a_desk
from tests.problems import refused
from tests.services import somebody

DAY, MONTH = 1440, 43_200  # minutes


async def my_menu(user: SignedInUser) -> JSON:
    answer = await user.get("/me/menu")
    assert answer.status_code == 200, answer.text
    found: JSON = answer.json()
    assert found.keys() == {"menu", "designation", "sessionTimeInMinutes"}
    return found


def outline(branches: list[JSON]) -> list[Any]:
    """Names, each with those below it."""
    return [(one["name"], outline(one["subMenus"])) if one["subMenus"] else one["name"] for one in branches]


async def seen(user: SignedInUser) -> list[Any]:
    return outline((await my_menu(user))["menu"])


def may(branch: JSON) -> str:
    """What may be done, in letters."""
    flags = {"isView": "v", "isCreate": "c", "isUpdate": "u", "isDelete": "d"}
    return "".join(letter for flag, letter in flags.items() if branch[flag])


async def made(desk: Desk, **fields: object) -> JSON:
    answer = await desk.admin.post("/menus", {"name": "Entry", "url": "/somewhere", **fields})
    assert answer.status_code == 201, answer.text
    menu: JSON = answer.json()
    return menu


async def clear(desk: Desk) -> None:
    """Delete the default menus."""
    async with desk.database.session(desk.id) as db:
        await db.execute(delete(Menu).where(Menu.org_id == desk.id, Menu.parent_id.is_not(None)))
        await db.execute(delete(Menu).where(Menu.org_id == desk.id))


ALL_OF_IT = ["Tickets", "Notifications", ("Users", ["Users", "Roles"]), ("Settings", ["Organisation", "Menus"])]


async def test_an_admin_sees_all_of_it(desk: Desk) -> None:
    found = await my_menu(desk.admin)
    assert (found["designation"], found["sessionTimeInMinutes"]) == ("Admin", DAY)
    assert outline(found["menu"]) == ALL_OF_IT
    tickets, _, users, _ = found["menu"]
    tickets.pop("id")
    assert tickets == {
        "name": "Tickets", "url": "/tickets", "icon": "ticket", "createUrl": "/tickets/new", "listUrl": "/tickets",
        "isView": True, "isCreate": True, "isUpdate": True, "isDelete": True, "subMenus": [],
    }  # fmt: skip
    assert (may(users), may(users["subMenus"][0])) == ("v", "vcud")


async def test_an_engineer_sees_what_engineers_may_view(desk: Desk) -> None:
    found = await my_menu(await sign_in(desk, RoleKind.ENGINEER))
    assert found["designation"] == "Engineer"
    assert outline(found["menu"]) == ["Tickets", ("Users", ["Users"]), ("Settings", ["Organisation"])]
    assert (may(found["menu"][0]), may(found["menu"][1]["subMenus"][0])) == ("vcu", "v")


async def test_a_customer_sees_what_customers_may_view(desk: Desk) -> None:
    found = await my_menu(await sign_in(desk, RoleKind.CUSTOMER))
    assert found["designation"] == "Customer"
    assert outline(found["menu"]) == ["Tickets", ("Settings", ["Organisation"])]


async def test_a_role_of_the_organisations_own_sees_what_it_may_view(desk: Desk) -> None:
    table = [{"resource": "roles", "view": True, "delete": True}, {"resource": "menus", "create": True}]
    role = (await desk.admin.post("/roles", {"name": "Keeper", "permissions": table})).json()
    found = await my_menu(await sign_in(desk, role_id=UUID(role["id"])))
    assert found["designation"] == "Keeper"
    assert outline(found["menu"]) == [("Users", ["Roles"])]
    assert may(found["menu"][0]["subMenus"][0]) == "vd"


async def test_what_somebody_is_granted_and_denied_counts(desk: Desk) -> None:
    user = await sign_in(desk, granted=["menus:view"], denied=["tickets:view", "users:view"])
    assert await seen(user) == [("Settings", ["Organisation", "Menus"])]


async def test_whoever_may_nothing_sees_what_needs_nothing(desk: Desk) -> None:
    user = await with_only(desk)
    assert await seen(user) == []
    await made(desk, name="Help", url="https://help.example/")
    assert await seen(user) == ["Help"]


async def test_an_entry_can_be_hidden_for_a_role(desk: Desk) -> None:
    role_id = await a_role(desk, "stores:view")
    agent, engineer = await sign_in(desk, role_id=role_id), await sign_in(desk)
    await clear(desk)
    await made(desk, name="Not for agents", resource="stores", hiddenForRoles=[str(role_id)])
    await made(desk, name="Not for engineers", resource="stores", hiddenForRoles=[str(ENGINEER.id)])
    await made(desk, name="For neither", resource="stores", hiddenForRoles=[str(ENGINEER.id), str(role_id)])
    assert await seen(engineer) == ["Not for agents"]
    assert await seen(agent) == ["Not for engineers"]
    assert await seen(desk.admin) == ["Not for agents", "Not for engineers", "For neither"]


async def test_an_entry_can_be_hidden_for_a_user(desk: Desk) -> None:
    colleague = await desk.another_admin()
    await clear(desk)
    parent = await made(desk, name="Parent", hiddenForUsers=[str(colleague.id)])
    await made(desk, name="Child", parentId=parent["id"])
    assert await seen(colleague) == []
    assert await seen(desk.admin) == [("Parent", ["Child"])]
    await desk.admin.patch(f"/menus/{parent['id']}", {"hiddenForUsers": []})
    assert await seen(colleague) == [("Parent", ["Child"])]


async def test_the_order_is_that_of_positions_and_then_names(desk: Desk) -> None:
    await clear(desk)
    for name, position in (("C", 2), ("B", 2), ("D", 1), ("A", 3)):
        await made(desk, name=name, position=position)
    assert await seen(desk.admin) == ["D", "B", "C", "A"]


async def test_a_change_of_the_role_is_seen_at_once(api: Api, database: Database) -> None:
    desk = await a_desk(api, database, sandbox=False)  # of which users are remembered for some seconds
    user = await with_only(desk, "tickets:view")
    assert await seen(user) == ["Tickets"]
    role_id = (await user.get("/me")).json()["roleId"]
    table = [{"resource": "roles", "view": True}]
    assert (await desk.admin.patch(f"/roles/{role_id}", {"permissions": table})).status_code == 200
    assert await seen(user) == [("Users", ["Roles"])]


async def test_nobody_sees_another_organisations_menu(api: Api, database: Database, desk: Desk) -> None:
    other = await a_desk(api, database)
    await made(desk, name="Ours")
    assert await seen(desk.admin) == [*ALL_OF_IT, "Ours"]
    assert await seen(other.admin) == ALL_OF_IT


async def test_only_somebody_signed_in_has_a_menu(api: Api, desk: Desk) -> None:
    refused(await api.http.get("/me/menu"), 401, "missing_credential")
    refused(await api.http.get("/me/menu", headers={"X-Org-Secret": desk.secret}), 403, "access_token_required")


# --- signing in -------------------------------------------------------------------------------------------------------


async def signs_in(desk: Desk, user: SignedInUser, **fields: object) -> JSON:
    body = {"email": user.email, "password": PASSWORD, "org": desk.domain, **fields}
    answer = await desk.api.http.post("/auth/signin", json=body)
    assert answer.status_code == 200, answer.text
    signed_in: JSON = answer.json()
    return signed_in


@pytest.mark.parametrize(("remember", "minutes"), [(False, DAY), (True, MONTH)])
async def test_signing_in_tells_the_same_as_asking_later(desk: Desk, remember: bool, minutes: int) -> None:
    user = await somebody(desk)
    await made(desk, name=f"Entry {uuid4().hex}")
    await made(desk, name="Hidden", hiddenForRoles=[str(ADMIN.id)])
    signed_in = await signs_in(desk, user, rememberMe=remember)
    assert signed_in["sessionTimeInMinutes"] == minutes
    assert len(signed_in["menu"]) == len(ALL_OF_IT) + 1
    headers = {"Authorization": f"Bearer {signed_in['accessToken']}"}
    later = (await desk.api.http.get("/me/menu", headers=headers)).json()
    assert later == {name: signed_in[name] for name in ("menu", "designation", "sessionTimeInMinutes")}
