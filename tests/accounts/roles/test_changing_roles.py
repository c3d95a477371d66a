"""Changing and deleting the custom roles of an organisation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from app.accounts.roles.rules import ADMIN, CUSTOMER, ENGINEER
from app.accounts.users.models import User as UserRow
from tests.accounts.roles.roles import TICKET_READER, create_role, permissions_of, read_role, role_events
from tests.accounts.users_and_roles import add_role, add_user
from tests.organisation_client import Desk
from tests.problems import assert_problem, read_invalid_fields


async def set_role(desk: Desk, user_id: UUID, role_id: UUID | None) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (UserRow.org_id == desk.id, UserRow.id == user_id)
        await db.execute(update(UserRow).where(*conditions).values(role_id=role_id))


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
