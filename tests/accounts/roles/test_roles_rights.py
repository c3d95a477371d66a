"""Who may make and change roles, and what a role does."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.access.permissions import RoleKind
from app.accounts.roles.rules import ADMIN, ENGINEER
from app.accounts.roles.schemas import as_table
from app.core.database.pool import Database
from tests.accounts.crew import a_role, sign_in, with_only
from tests.accounts.roles.test_roles import READER, allowed, made, names, read
from tests.desks import JSON, Api, Desk, SignedInUser, a_desk
from tests.problems import refused, wrong_fields

# --- no one grants what they do not have ------------------------------------------------------------------------------

ROLES = ("roles:view", "roles:create", "roles:update", "roles:delete")


async def a_role_keeper(desk: Desk, *permissions: str, **fields: Any) -> SignedInUser:
    """Somebody who may change roles, and besides them only these."""
    return await sign_in(desk, role_id=await a_role(desk, *ROLES, *permissions), **fields)


def table(*permissions: str) -> list[JSON]:
    """As requests write it."""
    return [row.model_dump(mode="json") for row in as_table(frozenset(permissions))]


async def test_a_role_can_be_made_of_ones_own_permissions_only(desk: Desk) -> None:
    keeper = await a_role_keeper(desk, "tickets:view")
    assert allowed(await made(keeper, permissions=table("tickets:view", "roles:view"))) == {
        "tickets:view",
        "roles:view",
    }
    for beyond in (
        {"permissions": table("tickets:view", "tickets:update")},
        {"copyOf": str(ADMIN.id)},
        {"copyOf": str(ENGINEER.id), "role": "ADMIN"},
    ):
        refused(await keeper.post("/roles", {"name": "More", **beyond}), 403, "privilege_escalation")
    assert "More" not in await names(desk)


async def test_what_somebody_is_denied_they_cannot_give(desk: Desk) -> None:
    keeper = await a_role_keeper(desk, "tickets:view", denied=["tickets:view"])
    refused(await keeper.post("/roles", {"name": "More", "permissions": READER}), 403, "privilege_escalation")


async def test_to_a_role_only_ones_own_permissions_can_be_added(desk: Desk) -> None:
    keeper = await a_role_keeper(desk, "tickets:view", "users:view")
    path = f"/roles/{await a_role(desk, 'tickets:view')}"
    more = {"permissions": table("tickets:view", "tickets:update")}
    refused(await keeper.patch(path, more), 403, "privilege_escalation")
    changed = await keeper.patch(path, {"permissions": table("users:view")})
    assert (changed.status_code, allowed(changed.json())) == (200, {"users:view"})


@pytest.mark.parametrize("change", [{"name": "Mine"}, {"permissions": []}, {"permissions": READER}])
async def test_a_role_with_more_than_ones_own_cannot_be_touched(desk: Desk, change: JSON) -> None:
    keeper = await a_role_keeper(desk, "tickets:view")
    role_id = await a_role(desk, "tickets:view", "org:update")
    before = await read(desk.admin, role_id)
    refused(await keeper.patch(f"/roles/{role_id}", change), 403, "privilege_escalation")
    refused(await keeper.delete(f"/roles/{role_id}"), 403, "privilege_escalation")
    assert await read(desk.admin, role_id) == before


async def test_ones_own_role_gains_nothing_not_even_what_one_was_granted_besides(desk: Desk) -> None:
    role_id = await a_role(desk, *ROLES, "tickets:view")
    keeper = await sign_in(desk, role_id=role_id, granted=["users:view"])
    for more in ((*ROLES, "tickets:view", "users:view"), (*ROLES, "tickets:view", "users:delete")):
        answer = await keeper.patch(f"/roles/{role_id}", {"permissions": table(*more)})
        refused(answer, 403, "privilege_escalation")
    less = await keeper.patch(f"/roles/{role_id}", {"permissions": table("roles:view"), "name": "Less"})
    assert (less.status_code, allowed(less.json())) == (200, {"roles:view"})
    refused(await keeper.patch(f"/roles/{role_id}", {"permissions": table(*ROLES)}), 403, "permission_required")


async def test_a_role_of_a_kind_above_ones_own_is_neither_made_nor_touched(desk: Desk) -> None:
    keeper = await a_role_keeper(desk, "tickets:view")
    refused(await keeper.post("/roles", {"name": "Above", "role": "ADMIN"}), 403, "privilege_escalation")
    above = await a_role(desk, "tickets:view", role=RoleKind.ADMIN)
    before = await read(desk.admin, above)
    refused(await keeper.post("/roles", {"name": "Above", "copyOf": str(above)}), 403, "privilege_escalation")
    refused(await keeper.patch(f"/roles/{above}", {"name": "Above"}), 403, "privilege_escalation")
    refused(await keeper.delete(f"/roles/{above}"), 403, "privilege_escalation")
    assert await read(desk.admin, above) == before
    below = await made(keeper, copyOf=str(above), role="CUSTOMER")
    assert (below["role"], allowed(below)) == ("CUSTOMER", {"tickets:view"})


# --- who may ----------------------------------------------------------------------------------------------------------


async def each_operation(user: SignedInUser, role_id: object) -> dict[str, httpx.Response]:
    path = f"/roles/{role_id}"
    return {
        "roles:view": await user.get(path),
        "roles:create": await user.post("/roles", {"name": f"Role {uuid4().hex}"}),
        "roles:update": await user.patch(path, {"name": f"Role {uuid4().hex}"}),
        "roles:delete": await user.delete(path),
    }


@pytest.mark.parametrize("has", ROLES)
async def test_each_operation_needs_its_own_permission(desk: Desk, has: str) -> None:
    user = await with_only(desk, has)
    for needed, answer in (await each_operation(user, await a_role(desk))).items():
        if needed == has:
            assert answer.is_success, answer.text
        else:
            refused(answer, 403, "permission_required")
    assert (await user.get("/roles")).status_code == (200 if has == "roles:view" else 403)


async def test_engineers_have_none_of_them_and_customers_never_may(desk: Desk) -> None:
    role_id = await a_role(desk)
    engineer = await sign_in(desk, RoleKind.ENGINEER)
    customer = await with_only(desk, *ROLES, role=RoleKind.CUSTOMER)
    for user, code in ((engineer, "permission_required"), (customer, "not_for_customers")):
        refused(await user.get("/roles"), 403, code)
        for answer in (await each_operation(user, role_id)).values():
            refused(answer, 403, code)


async def test_a_stranger_finds_nothing(api: Api, database: Database, desk: Desk) -> None:
    other = await a_desk(api, database)
    role = await made(desk.admin, permissions=READER)
    path = f"/roles/{role['id']}"
    refused(await other.admin.get(path), 404, "role_not_found")
    refused(await other.admin.patch(path, {"name": "Mine"}), 404, "role_not_found")
    refused(await other.admin.delete(path), 404, "role_not_found")
    assert wrong_fields(await other.admin.post("/roles", {"name": "Mine", "copyOf": role["id"]})) == {"copyOf"}
    assert await names(other) == ["Customer", "Engineer", "Admin"]
    assert await read(desk.admin, role["id"]) == role


# --- what it does -----------------------------------------------------------------------------------------------------


async def test_a_change_acts_at_once_on_those_who_are_signed_in(api: Api, database: Database) -> None:
    desk = await a_desk(api, database, sandbox=False)  # of which users are remembered for some seconds
    role = await made(desk.admin, name="Agent", permissions=READER)
    agent = await sign_in(desk, role_id=UUID(role["id"]))
    assert (await agent.get("/tickets")).status_code == 200
    assert (await agent.get("/me")).json()["designation"] == "Agent"

    await desk.admin.patch(f"/roles/{role['id']}", {"permissions": [{"resource": "roles", "view": True}]})
    refused(await agent.get("/tickets"), 403, "permission_required")
    assert (await agent.get("/roles")).status_code == 200

    await desk.admin.patch(f"/roles/{role['id']}", {"permissions": READER})
    assert (await agent.get("/tickets")).status_code == 200
    refused(await agent.get("/roles"), 403, "permission_required")


async def test_a_role_gives_what_its_table_says_and_nothing_else(desk: Desk) -> None:
    role = await made(desk.admin, permissions=[{"resource": "tickets", "view": True}])
    agent = await sign_in(desk, role_id=UUID(role["id"]))
    ticket = await desk.open()
    assert (await agent.get(f"/tickets/{ticket['id']}")).status_code == 200
    answer = await agent.post(f"/tickets/{ticket['id']}/change_status", {"status": "CLOSED"})
    refused(answer, 403, "permission_required")
    assert (await desk.read(ticket))["status"] == "OPEN"
