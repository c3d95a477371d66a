"""Managing the custom roles of an organisation."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from app.access.user_permissions import ALL, Resource, RoleKind
from app.accounts.roles.models import Role
from app.accounts.roles.rules import ADMIN, CUSTOMER, ENGINEER, MAX_ROLES, is_built_in_name
from app.accounts.roles.schemas import ResourceActions, as_table, from_table
from app.accounts.users.models import User as UserRow
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox.models import EventRow
from tests.accounts.users_and_roles import add_role, add_user
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields

UNKNOWN_ID = "0190b8e5-0000-7000-8000-000000000001"
TICKET_READER = [{"resource": "tickets", "view": True}]


async def create_role(user: SignedInUser, **fields: object) -> JSON:
    answer = await user.post("/roles", {"name": f"Role {uuid4().hex}", **fields})
    assert answer.status_code == 201, answer.text
    role: JSON = answer.json()
    assert answer.headers["location"] == f"/roles/{role['id']}"
    return role


async def read_role(user: SignedInUser, role_id: object) -> JSON:
    answer = await user.get(f"/roles/{role_id}")
    assert answer.status_code == 200, answer.text
    role: JSON = answer.json()
    return role


def permissions_of(role: JSON) -> set[str]:
    """Return the permissions of a role as strings."""
    assert [row["resource"] for row in role["permissions"]] == [resource.value for resource in Resource]
    actions = ("view", "create", "update", "delete")
    return {f"{row['resource']}:{action}" for row in role["permissions"] for action in actions if row[action]}


async def role_events(desk: Desk) -> list[tuple[str, JSON]]:
    async with desk.database.session(desk.id) as db:
        rows = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id).order_by(EventRow.seq))).all()
    return [(row.type, {"roleId": str(row.subject_id), **row.data}) for row in rows if row.type.startswith("role.")]


async def set_role(desk: Desk, user_id: UUID, role_id: UUID | None) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (UserRow.org_id == desk.id, UserRow.id == user_id)
        await db.execute(update(UserRow).where(*conditions).values(role_id=role_id))


async def list_names(desk: Desk) -> list[str]:
    """List the names of all roles, in the order of the list."""
    return [role["name"] for role in (await desk.admin.get("/roles", params={"limit": 100})).json()["items"]]


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


# --- changing ---------------------------------------------------------------------------------------------------------


async def test_sent_permissions_replace_all_others_and_omitted_ones_stay(desk: Desk) -> None:
    role = await create_role(desk.admin, permissions=[*TICKET_READER, {"resource": "users", "view": True}])
    path = f"/roles/{role['id']}"
    renamed = (await desk.admin.patch(path, {"name": "Agent"})).json()
    assert (renamed["name"], permissions_of(renamed)) == ("Agent", {"tickets:view", "users:view"})
    changed = (await desk.admin.patch(path, {"permissions": [{"resource": "tickets", "update": True}]})).json()
    assert (changed["name"], permissions_of(changed)) == ("Agent", {"tickets:update"})
    assert changed["updatedAt"] > changed["createdAt"] == role["createdAt"]
    assert await read_role(desk.admin, role["id"]) == changed
    same = {"roleId": role["id"], "name": "Agent"}
    assert (await role_events(desk))[1:] == [
        ("role.updated", same | {"added": [], "removed": []}),
        ("role.updated", same | {"added": ["tickets:update"], "removed": ["tickets:view", "users:view"]}),
    ]


async def test_values_that_are_already_set_change_nothing(desk: Desk) -> None:
    role = await create_role(desk.admin, name="Agent", permissions=TICKET_READER)
    for same in (
        {},
        {"name": "Agent"},
        {"permissions": TICKET_READER},
        {"name": "Agent", "permissions": TICKET_READER},
    ):
        assert (await desk.admin.patch(f"/roles/{role['id']}", same)).json() == role
    assert len(await role_events(desk)) == 1


@pytest.mark.parametrize("invalid_field", ["role", "id", "orgId", "builtIn", "copyOf", "createdAt"])
async def test_other_fields_cannot_be_changed(desk: Desk, invalid_field: str) -> None:
    role = await create_role(desk.admin, name="Agent")
    body = {"name": "Other", invalid_field: role.get(invalid_field)}
    assert read_invalid_fields(await desk.admin.patch(f"/roles/{role['id']}", body)) == {invalid_field}
    assert await read_role(desk.admin, role["id"]) == role


@pytest.mark.parametrize("built_in", [ADMIN, ENGINEER, CUSTOMER])
async def test_a_built_in_role_cannot_be_changed(desk: Desk, built_in: Any) -> None:
    path = f"/roles/{built_in.id}"
    assert_problem(await desk.admin.patch(path, {"permissions": []}), 409, "built_in_role")
    assert_problem(await desk.admin.patch(path, {}), 409, "built_in_role")
    assert_problem(await desk.admin.delete(path), 409, "built_in_role")
    assert permissions_of(await read_role(desk.admin, built_in.id)) == built_in.permissions


# --- deleting ---------------------------------------------------------------------------------------------------------


async def test_an_unassigned_role_can_be_deleted(desk: Desk) -> None:
    role = await create_role(desk.admin, name="Agent")
    answer = await desk.admin.delete(f"/roles/{role['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(await desk.admin.get(f"/roles/{role['id']}"), 404, "role_not_found")
    assert_problem(await desk.admin.delete(f"/roles/{role['id']}"), 404, "role_not_found")
    assert (await role_events(desk))[-1] == ("role.deleted", {"roleId": role["id"], "name": "Agent"})


async def test_an_assigned_role_cannot_be_deleted(desk: Desk) -> None:
    role_id = await add_role(desk, "tickets:view")
    user = await add_user(desk, role_id=role_id)
    assert_problem(await desk.admin.delete(f"/roles/{role_id}"), 409, "role_in_use")
    await read_role(desk.admin, role_id)
    assert await role_events(desk) == []
    await set_role(desk, user.id, None)
    assert (await desk.admin.delete(f"/roles/{role_id}")).status_code == 204
