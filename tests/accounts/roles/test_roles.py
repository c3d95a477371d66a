"""Listing, reading and creating the custom roles of an organisation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from app.access.user_permissions import ALL, Resource, RoleKind
from app.accounts.roles.models import Role
from app.accounts.roles.rules import ADMIN, CUSTOMER, ENGINEER, MAX_ROLES, is_built_in_name
from app.accounts.roles.schemas import ResourceActions, as_table, from_table
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from tests.accounts.roles.roles import TICKET_READER, create_role, list_names, permissions_of, read_role, role_events
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields

UNKNOWN_ID = "0190b8e5-0000-7000-8000-000000000001"

# --- permission tables ------------------------------------------------------------------------------------------------


@given(st.frozensets(st.sampled_from(sorted(ALL))))
def test_a_permission_table_round_trips(permissions: frozenset[str]) -> None:
    permission_table = [ResourceActions.model_validate(row.model_dump()) for row in as_table(permissions)]
    assert from_table(permission_table) == permissions


def test_actions_missing_in_a_table_are_not_permitted() -> None:
    assert from_table(
        [ResourceActions(resource=Resource.USERS), ResourceActions(resource=Resource.KEYS, update=True)]
    ) == {"keys:update"}


@pytest.mark.parametrize(
    ("name", "is_built_in"), [("admin", True), ("ENGINEER", True), ("Customer", True), ("Agent", False)]
)
def test_names_of_built_in_roles_are_recognised_in_any_case(name: str, is_built_in: bool) -> None:
    assert is_built_in_name(name) is is_built_in


# --- listing and reading ----------------------------------------------------------------------------------------------


async def test_an_organisation_starts_with_the_built_in_roles(desk: Desk) -> None:
    answer = await desk.admin.get("/roles")
    assert answer.status_code == 200
    assert answer.json()["nextCursor"] is None
    items = answer.json()["items"]
    assert [item["name"] for item in items] == ["Customer", "Engineer", "Admin"]
    assert [item["role"] for item in items] == ["CUSTOMER", "ENGINEER", "ADMIN"]
    assert all(item["builtIn"] and item["createdAt"] is None and item["updatedAt"] is None for item in items)
    assert [permissions_of(item) for item in items] == [CUSTOMER.permissions, ENGINEER.permissions, ALL]


async def test_custom_roles_precede_built_in_ones_newest_first(desk: Desk) -> None:
    own = [(await create_role(desk.admin, name=name))["name"] for name in ("One", "Two", "Three")]
    expected = [*reversed(own), "Customer", "Engineer", "Admin"]
    for limit in (1, 2, 3, 4, 6):
        found: list[str] = []
        cursor = None
        while cursor is not None or not found:
            query: dict[str, Any] = {"limit": limit, "include": "total"} | ({"cursor": cursor} if cursor else {})
            page = (await desk.admin.get("/roles", params=query)).json()
            assert page["total"] == 6
            found += [item["name"] for item in page["items"]]
            cursor = page["nextCursor"]
        assert found == expected


async def test_a_cursor_of_another_organisation_is_rejected(api: Api, database: Database, desk: Desk) -> None:
    other = await create_desk(api, database)
    cursor = (await other.admin.get("/roles", params={"limit": 1})).json()["nextCursor"]
    answer = await desk.admin.get("/roles", params={"cursor": cursor})
    assert read_invalid_fields(answer, "invalid_cursor") == {"cursor"}


@pytest.mark.parametrize("built_in", [ADMIN, ENGINEER, CUSTOMER])
async def test_a_built_in_role_can_be_read(desk: Desk, built_in: Any) -> None:
    role = await read_role(desk.admin, built_in.id)
    assert (role["name"], role["role"], role["builtIn"]) == (built_in.name, built_in.kind, True)
    assert permissions_of(role) == built_in.permissions


# --- creating ---------------------------------------------------------------------------------------------------------


async def test_a_created_role_has_the_given_permissions(desk: Desk) -> None:
    permission_table = [{"resource": "tickets", "view": True, "update": True}, {"resource": "reports", "delete": True}]
    role = await create_role(desk.admin, name=" Support lead ", permissions=permission_table)
    assert (role["name"], role["role"], role["builtIn"]) == ("Support lead", "ENGINEER", False)
    assert permissions_of(role) == {"tickets:view", "tickets:update", "reports:delete"}
    assert role["createdAt"] == role["updatedAt"]
    assert role["createdAt"].endswith("Z")
    assert await read_role(desk.admin, role["id"]) == role
    expected = {
        "roleId": role["id"], "name": "Support lead", "role": "ENGINEER",
        "permissions": ["reports:delete", "tickets:update", "tickets:view"],
    }  # fmt: skip
    assert await role_events(desk) == [("role.created", expected)]


async def test_a_role_is_created_without_permissions_by_default(desk: Desk) -> None:
    assert permissions_of(await create_role(desk.admin)) == set()


@pytest.mark.parametrize("built_in", [ADMIN, ENGINEER, CUSTOMER])
async def test_a_built_in_role_can_be_copied(desk: Desk, built_in: Any) -> None:
    role = await create_role(desk.admin, copyOf=str(built_in.id))
    assert (role["role"], role["builtIn"], permissions_of(role)) == (built_in.kind, False, built_in.permissions)


async def test_fields_of_a_copy_can_be_overridden(desk: Desk) -> None:
    original = await create_role(desk.admin, role="CUSTOMER", permissions=TICKET_READER)
    assert permissions_of(await create_role(desk.admin, copyOf=original["id"])) == {"tickets:view"}
    other = await create_role(desk.admin, copyOf=original["id"], role="ADMIN", permissions=[])
    assert (other["role"], permissions_of(other)) == ("ADMIN", set())


@pytest.mark.parametrize(
    ("fields", "invalid_field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": None}, "name"),
        ({"name": "New", "role": "OWNER"}, "role"),
        ({"name": "New", "role": None}, "role"),
        ({"name": "New", "copyOf": "Admin"}, "copyOf"),
        ({"name": "New", "copyOf": UNKNOWN_ID}, "copyOf"),
        ({"name": "New", "permissions": None}, "permissions"),
        ({"name": "New", "permissions": [*TICKET_READER, {"resource": "tickets"}]}, "permissions"),
        ({"name": "New", "permissions": [{"resource": "teapots"}]}, "permissions.0.resource"),
        ({"name": "New", "permissions": [{"view": True}]}, "permissions.0.resource"),
        ({"name": "New", "permissions": [{"resource": "users", "view": "yes"}]}, "permissions.0.view"),
        ({"name": "New", "permissions": [{"resource": "users", "view": 1}]}, "permissions.0.view"),
        ({"name": "New", "permissions": [{"resource": "users", "own": True}]}, "permissions.0.own"),
        ({"name": "New", "permissions": ["tickets:view"]}, "permissions.0"),
        ({"name": "New", "builtIn": True}, "builtIn"),
        ({"name": "New", "id": UNKNOWN_ID}, "id"),
        ({"name": "New", "orgId": UNKNOWN_ID}, "orgId"),
    ],
)
async def test_an_invalid_field_is_reported_and_nothing_is_created(
    desk: Desk, fields: JSON, invalid_field: str
) -> None:
    assert read_invalid_fields(await desk.admin.post("/roles", fields)) == {invalid_field}
    assert await list_names(desk) == ["Customer", "Engineer", "Admin"]
    assert await role_events(desk) == []


async def test_a_role_name_is_unique_in_an_organisation_in_any_case(api: Api, database: Database, desk: Desk) -> None:
    first = await create_role(desk.admin, name="Agent")
    assert_problem(await desk.admin.post("/roles", {"name": "Agent"}), 409, "role_name_taken")
    other = await create_role(desk.admin, name="Other")
    for name in ("Agent", "agent", "AGENT", " aGENT "):  # users could not tell these apart
        assert_problem(await desk.admin.post("/roles", {"name": name}), 409, "role_name_taken")
        assert_problem(await desk.admin.patch(f"/roles/{other['id']}", {"name": name}), 409, "role_name_taken")
    for name in ("Agent", "AGENT"):
        assert (await desk.admin.patch(f"/roles/{first['id']}", {"name": name})).status_code == 200
    await create_role(desk.admin, name="Straße")
    assert_problem(await desk.admin.post("/roles", {"name": "STRASSE"}), 409, "role_name_taken")
    await create_role((await create_desk(api, database)).admin, name="Agent")


@pytest.mark.parametrize("name", ["Admin", "ENGINEER", "customer"])
async def test_a_custom_role_cannot_have_a_built_in_name(desk: Desk, name: str) -> None:
    assert_problem(await desk.admin.post("/roles", {"name": name}), 409, "role_name_taken")
    role = await create_role(desk.admin)
    assert_problem(await desk.admin.patch(f"/roles/{role['id']}", {"name": name}), 409, "role_name_taken")


async def test_one_of_several_concurrent_creations_gets_the_name(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.admin.post("/roles", {"name": "Agent"}) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert (await list_names(desk)).count("Agent") == 1


async def test_one_of_several_concurrent_changes_gets_the_name_in_any_case(desk: Desk) -> None:
    others = [await create_role(desk.admin) for _ in range(2)]
    names = iter(("Agent", "AGENT", "agent", "aGENT"))
    answers = await asyncio.gather(
        *(desk.admin.post("/roles", {"name": next(names)}) for _ in range(2)),
        *(desk.admin.patch(f"/roles/{other['id']}", {"name": next(names)}) for other in others),
    )
    assert sorted(answer.is_success for answer in answers) == [False, False, False, True]
    assert [name.casefold() for name in await list_names(desk)].count("agent") == 1


async def test_the_limit_of_roles_holds_for_concurrent_requests(desk: Desk) -> None:
    now = real_now()
    same = {"org_id": desk.id, "kind": RoleKind.ENGINEER, "permissions": [], "created_at": now, "updated_at": now}
    async with desk.database.session(desk.id) as db:
        rows = [{"id": new_id(), "name": f"Role {n}", **same} for n in range(MAX_ROLES - 1)]
        await db.execute(insert(Role), rows)
    answers = await asyncio.gather(*(desk.admin.post("/roles", {"name": f"New {n}"}) for n in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert_problem(await desk.admin.post("/roles", {"name": "One more"}), 409, "too_many_roles")
