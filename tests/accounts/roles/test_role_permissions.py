"""Permissions to manage roles, and the effect of roles."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.access.user_permissions import RoleKind
from app.accounts.roles.rules import ADMIN, ENGINEER
from app.accounts.roles.schemas import as_table
from app.core.database.pool import Database
from tests.accounts.roles.roles import TICKET_READER, create_role, list_names, permissions_of, read_role
from tests.accounts.users_and_roles import add_role, add_signed_in_user, add_user_with_permissions
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields

# --- privilege escalation ---------------------------------------------------------------------------------------------

ROLES = ("roles:view", "roles:create", "roles:update", "roles:delete")


async def create_role_admin(desk: Desk, *permissions: str, **fields: Any) -> SignedInUser:
    """Sign in a user with all permissions on roles, and the given ones."""
    return await add_signed_in_user(desk, role_id=await add_role(desk, *ROLES, *permissions), **fields)


def permission_table(*permissions: str) -> list[JSON]:
    """Return the permissions as a request contains them."""
    return [row.model_dump(mode="json") for row in as_table(frozenset(permissions))]


async def test_a_role_can_only_be_created_with_the_callers_permissions(desk: Desk) -> None:
    role_admin = await create_role_admin(desk, "tickets:view")
    assert permissions_of(
        await create_role(role_admin, permissions=permission_table("tickets:view", "roles:view"))
    ) == {
        "tickets:view",
        "roles:view",
    }
    for excess in (
        {"permissions": permission_table("tickets:view", "tickets:update")},
        {"copyOf": str(ADMIN.id)},
        {"copyOf": str(ENGINEER.id), "role": "ADMIN"},
    ):
        assert_problem(await role_admin.post("/roles", {"name": "More", **excess}), 403, "privilege_escalation")
    assert "More" not in await list_names(desk)


async def test_a_denied_permission_cannot_be_granted(desk: Desk) -> None:
    role_admin = await create_role_admin(desk, "tickets:view", denied=["tickets:view"])
    assert_problem(
        await role_admin.post("/roles", {"name": "More", "permissions": TICKET_READER}), 403, "privilege_escalation"
    )


async def test_only_the_callers_permissions_can_be_added_to_a_role(desk: Desk) -> None:
    role_admin = await create_role_admin(desk, "tickets:view", "users:view")
    path = f"/roles/{await add_role(desk, 'tickets:view')}"
    more = {"permissions": permission_table("tickets:view", "tickets:update")}
    assert_problem(await role_admin.patch(path, more), 403, "privilege_escalation")
    changed = await role_admin.patch(path, {"permissions": permission_table("users:view")})
    assert (changed.status_code, permissions_of(changed.json())) == (200, {"users:view"})


@pytest.mark.parametrize("change", [{"name": "Mine"}, {"permissions": []}, {"permissions": TICKET_READER}])
async def test_a_role_with_more_permissions_than_the_caller_cannot_be_changed(desk: Desk, change: JSON) -> None:
    role_admin = await create_role_admin(desk, "tickets:view")
    role_id = await add_role(desk, "tickets:view", "org:update")
    before = await read_role(desk.admin, role_id)
    assert_problem(await role_admin.patch(f"/roles/{role_id}", change), 403, "privilege_escalation")
    assert_problem(await role_admin.delete(f"/roles/{role_id}"), 403, "privilege_escalation")
    assert await read_role(desk.admin, role_id) == before


async def test_a_user_cannot_add_permissions_to_their_own_role(desk: Desk) -> None:
    role_id = await add_role(desk, *ROLES, "tickets:view")
    role_admin = await add_signed_in_user(desk, role_id=role_id, granted=["users:view"])
    for more in ((*ROLES, "tickets:view", "users:view"), (*ROLES, "tickets:view", "users:delete")):
        answer = await role_admin.patch(f"/roles/{role_id}", {"permissions": permission_table(*more)})
        assert_problem(answer, 403, "privilege_escalation")
    less = await role_admin.patch(f"/roles/{role_id}", {"permissions": permission_table("roles:view"), "name": "Less"})
    assert (less.status_code, permissions_of(less.json())) == (200, {"roles:view"})
    assert_problem(
        await role_admin.patch(f"/roles/{role_id}", {"permissions": permission_table(*ROLES)}),
        403,
        "permission_required",
    )


async def test_a_role_of_a_higher_kind_cannot_be_created_or_changed(desk: Desk) -> None:
    role_admin = await create_role_admin(desk, "tickets:view")
    assert_problem(await role_admin.post("/roles", {"name": "Above", "role": "ADMIN"}), 403, "privilege_escalation")
    above = await add_role(desk, "tickets:view", role=RoleKind.ADMIN)
    before = await read_role(desk.admin, above)
    assert_problem(
        await role_admin.post("/roles", {"name": "Above", "copyOf": str(above)}), 403, "privilege_escalation"
    )
    assert_problem(await role_admin.patch(f"/roles/{above}", {"name": "Above"}), 403, "privilege_escalation")
    assert_problem(await role_admin.delete(f"/roles/{above}"), 403, "privilege_escalation")
    assert await read_role(desk.admin, above) == before
    below = await create_role(role_admin, copyOf=str(above), role="CUSTOMER")
    assert (below["role"], permissions_of(below)) == ("CUSTOMER", {"tickets:view"})


# --- permissions ------------------------------------------------------------------------------------------------------


async def call_each_operation(user: SignedInUser, role_id: object) -> dict[str, httpx.Response]:
    path = f"/roles/{role_id}"
    return {
        "roles:view": await user.get(path),
        "roles:create": await user.post("/roles", {"name": f"Role {uuid4().hex}"}),
        "roles:update": await user.patch(path, {"name": f"Role {uuid4().hex}"}),
        "roles:delete": await user.delete(path),
    }


@pytest.mark.parametrize("has", ROLES)
async def test_each_operation_needs_its_own_permission(desk: Desk, has: str) -> None:
    user = await add_user_with_permissions(desk, has)
    for required, answer in (await call_each_operation(user, await add_role(desk))).items():
        if required == has:
            assert answer.is_success, answer.text
        else:
            assert_problem(answer, 403, "permission_required")
    assert (await user.get("/roles")).status_code == (200 if has == "roles:view" else 403)


async def test_engineers_and_customers_cannot_manage_roles(desk: Desk) -> None:
    role_id = await add_role(desk)
    engineer = await add_signed_in_user(desk, RoleKind.ENGINEER)
    customer = await add_user_with_permissions(desk, *ROLES, role=RoleKind.CUSTOMER)
    for user, code in ((engineer, "permission_required"), (customer, "not_for_customers")):
        assert_problem(await user.get("/roles"), 403, code)
        for answer in (await call_each_operation(user, role_id)).values():
            assert_problem(answer, 403, code)


async def test_an_admin_of_another_organisation_has_no_access(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    role = await create_role(desk.admin, permissions=TICKET_READER)
    path = f"/roles/{role['id']}"
    assert_problem(await other.admin.get(path), 404, "role_not_found")
    assert_problem(await other.admin.patch(path, {"name": "Mine"}), 404, "role_not_found")
    assert_problem(await other.admin.delete(path), 404, "role_not_found")
    assert read_invalid_fields(await other.admin.post("/roles", {"name": "Mine", "copyOf": role["id"]})) == {"copyOf"}
    assert await list_names(other) == ["Customer", "Engineer", "Admin"]
    assert await read_role(desk.admin, role["id"]) == role


# --- effect -----------------------------------------------------------------------------------------------------------


async def test_a_change_applies_to_signed_in_users_immediately(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    role = await create_role(desk.admin, name="Agent", permissions=TICKET_READER)
    agent = await add_signed_in_user(desk, role_id=UUID(role["id"]))
    assert (await agent.get("/tickets")).status_code == 200
    assert (await agent.get("/me")).json()["designation"] == "Agent"

    await desk.admin.patch(f"/roles/{role['id']}", {"permissions": [{"resource": "roles", "view": True}]})
    assert_problem(await agent.get("/tickets"), 403, "permission_required")
    assert (await agent.get("/roles")).status_code == 200

    await desk.admin.patch(f"/roles/{role['id']}", {"permissions": TICKET_READER})
    assert (await agent.get("/tickets")).status_code == 200
    assert_problem(await agent.get("/roles"), 403, "permission_required")


async def test_a_role_grants_exactly_its_permissions(desk: Desk) -> None:
    role = await create_role(desk.admin, permissions=[{"resource": "tickets", "view": True}])
    agent = await add_signed_in_user(desk, role_id=UUID(role["id"]))
    ticket = await desk.open()
    assert (await agent.get(f"/tickets/{ticket['id']}")).status_code == 200
    answer = await agent.post(f"/tickets/{ticket['id']}/change_status", {"status": "CLOSED"})
    assert_problem(answer, 403, "permission_required")
    assert (await desk.read(ticket))["status"] == "OPEN"
