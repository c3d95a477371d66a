"""Permissions to manage the menu of an organisation."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest

from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from tests.accounts.users_and_roles import add_role, add_signed_in_user, add_user_with_permissions
from tests.menus.menus import create_menu, list_menus, read_menu
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields

MENUS = ("menus:view", "menus:create", "menus:update", "menus:delete")


async def call_each_operation(user: SignedInUser, menu: JSON) -> dict[str, httpx.Response]:
    path = f"/menus/{menu['id']}"
    return {
        "menus:view": await user.get(path),
        "menus:create": await user.post("/menus", {"name": "New"}),
        "menus:update": await user.patch(path, {"name": f"Entry {uuid4().hex}"}),
        "menus:delete": await user.delete(path),
    }


@pytest.mark.parametrize("has", MENUS)
async def test_each_operation_needs_its_own_permission(desk: Desk, has: str) -> None:
    user = await add_user_with_permissions(desk, has)
    for required, answer in (await call_each_operation(user, await create_menu(desk.admin))).items():
        if required == has:
            assert answer.is_success, answer.text
        else:
            assert_problem(answer, 403, "permission_required")
    assert (await user.get("/menus")).status_code == (200 if has == "menus:view" else 403)


async def test_engineers_and_customers_cannot_manage_menus(desk: Desk) -> None:
    menu = await create_menu(desk.admin)
    engineer = await add_signed_in_user(desk, RoleKind.ENGINEER)
    customer = await add_user_with_permissions(desk, *MENUS, role=RoleKind.CUSTOMER)
    for user, code in ((engineer, "permission_required"), (customer, "not_for_customers")):
        assert_problem(await user.get("/menus"), 403, code)
        for answer in (await call_each_operation(user, menu)).values():
            assert_problem(answer, 403, code)
    assert await read_menu(desk.admin, menu) == menu


async def test_an_admin_of_another_organisation_has_no_access(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    menu, foreign = await create_menu(desk.admin), await create_menu(other.admin)
    path = f"/menus/{menu['id']}"
    assert_problem(await other.admin.get(path), 404, "menu_not_found")
    assert_problem(await other.admin.patch(path, {"name": "Mine"}), 404, "menu_not_found")
    assert_problem(await other.admin.delete(path), 404, "menu_not_found")
    references = {
        "parentId": menu["id"],
        "hiddenForRoles": [str(await add_role(desk))],
        "hiddenForUsers": [str(desk.admin.id)],
    }
    for name, value in references.items():
        assert read_invalid_fields(await other.admin.post("/menus", {"name": "Mine", name: value})) == {name}
        assert read_invalid_fields(await other.admin.patch(f"/menus/{foreign['id']}", {name: value})) == {name}
    assert menu["id"] not in {item["id"] for item in await list_menus(other)}
    assert await read_menu(desk.admin, menu) == menu
