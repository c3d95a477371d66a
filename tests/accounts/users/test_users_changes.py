"""Change a user's role, status and availability."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.access.user_permissions import RoleKind
from app.accounts.roles import rules as roles
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.authentication.sessions.models import Session
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    ENGINEER,
    add_role,
    add_signed_in_user,
    add_user,
    list_events,
    ok,
    read_row,
)
from tests.organisation_client import JSON, Api, Desk, create_desk, open_session
from tests.problems import assert_problem, read_invalid_fields


def role_change(before: UUID, after: UUID, kinds: str) -> JSON:
    """Return the data of the event about a changed role."""
    from_role, to_role = kinds.split(" to ")
    return {"fromRole": from_role, "toRole": to_role, "fromRoleId": str(before), "toRoleId": str(after)}


# --- roles ------------------------------------------------------------------------------------------------------------


async def test_an_admin_changes_a_users_built_in_role(desk: Desk) -> None:
    row = await add_user(desk)
    result = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ADMIN"}))
    assert (result["role"], result["roleId"], result["designation"]) == ("ADMIN", str(roles.ADMIN.id), "Admin")
    assert ok(await desk.admin.get(f"/users/{row.id}")) == result
    expected = role_change(roles.ENGINEER.id, roles.ADMIN.id, "ENGINEER to ADMIN")
    assert await list_events(desk, row.id) == [("user.role_changed", expected)]


async def test_a_demotion_ends_the_users_sessions_immediately(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    engineer = await add_signed_in_user(desk)
    ok(await engineer.get("/users"))
    ok(await desk.admin.patch(f"/users/{engineer.id}", {"role": "CUSTOMER"}))
    assert_problem(await engineer.get("/users"), 401, "invalid_token")
    assert ok(await desk.admin.get(f"/users/{engineer.id}"))["role"] == "CUSTOMER"


async def test_a_custom_role_can_be_assigned_and_replaced(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer, role_id = await add_signed_in_user(desk), await add_role(desk, "keys:view", role=ADMIN)
    ok(await engineer.get("/users"))
    result = ok(await desk.admin.put(f"/users/{engineer.id}/role", {"roleId": str(role_id)}))
    assert (result["role"], result["roleId"]) == ("ADMIN", str(role_id))
    assert result["designation"].startswith("Role ")
    assert_problem(await engineer.get("/users"), 403, "permission_required")

    result = ok(await desk.admin.patch(f"/users/{engineer.id}", {"role": "ENGINEER"}))
    assert (result["roleId"], result["designation"]) == (str(roles.ENGINEER.id), "Engineer")
    assert [data for _, data in await list_events(desk, engineer.id)] == [
        role_change(roles.ENGINEER.id, role_id, "ENGINEER to ADMIN"),
        role_change(role_id, roles.ENGINEER.id, "ADMIN to ENGINEER"),
    ]


async def test_the_built_in_role_of_the_same_kind_replaces_a_custom_role(desk: Desk) -> None:
    row = await add_user(desk, role_id=await add_role(desk, "tickets:view"))
    result = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ENGINEER"}))
    assert result["roleId"] == str(roles.ENGINEER.id)


async def test_a_user_who_becomes_a_customer_is_no_longer_available(desk: Desk) -> None:
    row = await add_user(desk, available=True)
    result = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "CUSTOMER"}))
    assert (result["role"], result["available"]) == ("CUSTOMER", False)
    assert [kind for kind, _ in await list_events(desk, row.id)] == ["user.role_changed"]


async def test_a_role_that_does_not_exist_in_the_organisation_cannot_be_assigned(
    api: Api, database: Database, desk: Desk
) -> None:
    row = await add_user(desk)
    foreign = await add_role(await create_desk(api, database), "tickets:view")
    for role_id in (foreign, UUID(int=1)):
        answer = await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(role_id)})
        assert read_invalid_fields(answer) == {"roleId"}
    assert (await read_row(desk, row.id)).role_id is None
    assert await list_events(desk, row.id) == []


# --- status -----------------------------------------------------------------------------------------------------------


async def test_suspending_a_user_ends_sessions_and_links_for_good(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    row = await add_user(desk)
    phone, laptop = await open_session(desk, row), await open_session(desk, row)
    async with database.session(desk.id) as db:
        for purpose in LinkPurpose:
            links.issue(db, desk.id, row.id, row.email, purpose)
    ok(await phone.get("/me"))

    assert ok(await desk.admin.patch(f"/users/{row.id}", {"status": "SUSPENDED"}))["status"] == "SUSPENDED"
    for device in (phone, laptop):
        assert_problem(await device.get("/me"), 401, "invalid_token")
    async with database.session(desk.id) as db:
        purposes = set(await db.scalars(select(Link.purpose).where(Link.org_id == desk.id)))
        sessions = await db.scalar(select(func.count()).where(Session.org_id == desk.id, Session.user_id == row.id))
    assert purposes == set(LinkPurpose) - {LinkPurpose.RESET_PASSWORD, LinkPurpose.SIGN_IN}
    assert sessions == 0

    assert ok(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}))["status"] == "ACTIVE"
    assert_problem(await phone.get("/me"), 401, "invalid_token")
    assert [kind for kind, _ in await list_events(desk, row.id)] == ["user.suspended", "user.reactivated"]
    ok(await (await open_session(desk, row)).get("/me"))


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "INVITED"])
@pytest.mark.parametrize("wanted", ["ACTIVE", "SUSPENDED"])
async def test_an_account_that_was_never_active_can_be_neither_suspended_nor_reactivated(
    desk: Desk, status: str, wanted: str
) -> None:
    row = await add_user(desk, status=status)
    problem = assert_problem(await desk.admin.patch(f"/users/{row.id}", {"status": wanted}), 409, "not_active_yet")
    assert ("invitation" if status == "INVITED" else "/approve") in problem["detail"]
    assert (await read_row(desk, row.id)).status == status
    assert await list_events(desk, row.id) == []


async def test_no_part_of_a_refused_change_is_applied(desk: Desk) -> None:
    row = await add_user(desk, status="PENDING")
    answer = await desk.admin.patch(f"/users/{row.id}", {"role": "ADMIN", "available": True, "status": "ACTIVE"})
    assert_problem(answer, 409, "not_active_yet")
    after = await read_row(desk, row.id)
    assert (after.role_kind, after.available, after.status) == ("ENGINEER", False, "PENDING")


async def test_admins_can_suspend_themselves_if_another_admin_is_left(desk: Desk) -> None:
    other = await desk.another_admin()
    assert ok(await other.patch(f"/users/{other.id}", {"status": "SUSPENDED"}))["status"] == "SUSPENDED"
    assert_problem(await other.get("/me"), 401, "invalid_token")


# --- availability -----------------------------------------------------------------------------------------------------


async def test_waiting_tickets_are_assigned_to_a_user_who_becomes_available(desk: Desk) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    ticket, row = await desk.open(), await add_user(desk)
    assert ticket["adminId"] is None
    assert ok(await desk.admin.patch(f"/users/{row.id}", {"available": True}))["available"] is True
    assert (await desk.read(ticket))["adminId"] == str(row.id)
    ok(await desk.admin.patch(f"/users/{row.id}", {"available": False}))
    kinds = [kind for kind, _ in await list_events(desk, row.id) if kind.startswith("user.")]
    assert kinds == ["user.became_available", "user.became_unavailable"]


async def test_availability_takes_effect_when_the_user_is_reactivated(desk: Desk) -> None:
    row = await add_user(desk, status="SUSPENDED")
    ok(await desk.admin.patch(f"/users/{row.id}", {"available": True}))
    assert await list_events(desk, row.id) == []
    ok(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}))
    kinds = [kind for kind, _ in await list_events(desk, row.id)]
    assert kinds == ["user.reactivated", "user.became_available"]


@pytest.mark.parametrize(("role", "change"), [(CUSTOMER, {}), (ENGINEER, {"role": "CUSTOMER"})])
async def test_a_customer_cannot_be_available(desk: Desk, role: RoleKind, change: dict[str, object]) -> None:
    row = await add_user(desk, role)
    answer = await desk.admin.patch(f"/users/{row.id}", {**change, "available": True})
    assert read_invalid_fields(answer, "customer_not_available") == {"available"}
    assert (await read_row(desk, row.id)).role_kind == role


async def test_a_customer_who_becomes_an_engineer_can_be_available(desk: Desk) -> None:
    row = await add_user(desk, CUSTOMER)
    result = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ENGINEER", "available": True}))
    assert (result["role"], result["available"]) == ("ENGINEER", True)


# --- invalid input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"role": "ENGINEER", "status": "ACTIVE", "available": False}])
async def test_values_that_are_already_set_change_nothing(desk: Desk, values: dict[str, object]) -> None:
    row = await add_user(desk)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    assert ok(await desk.admin.patch(f"/users/{row.id}", values)) == before
    assert ok(await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(roles.ENGINEER.id)})) == before
    assert await list_events(desk, row.id) == []


async def test_the_refusal_of_a_status_lists_the_allowed_ones(desk: Desk) -> None:
    row = await add_user(desk)
    answer = await desk.admin.patch(f"/users/{row.id}", {"status": "PENDING"})
    faults = assert_problem(answer, 422, "invalid_input")["errors"]
    assert faults == [{"field": "status", "message": "This must be 'ACTIVE' or 'SUSPENDED'."}]


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("PATCH", "", {"email": "eve@growfin.test"}, "email"),
        ("PATCH", "", {"firstName": "Eve"}, "firstName"),
        ("PATCH", "", {"orgId": str(UUID(int=1))}, "orgId"),
        ("PATCH", "", {"id": str(UUID(int=1))}, "id"),
        ("PATCH", "", {"roleId": str(roles.ADMIN.id)}, "roleId"),
        ("PATCH", "", {"granted": ["keys:view"]}, "granted"),
        ("PATCH", "", {"password": "another-heron-48-lamp"}, "password"),
        ("PATCH", "", {"emailVerified": True}, "emailVerified"),
        ("PATCH", "", {"status": "PENDING"}, "status"),
        ("PATCH", "", {"status": "ERASED"}, "status"),
        ("PATCH", "", {"status": None}, "status"),
        ("PATCH", "", {"role": "OWNER"}, "role"),
        ("PATCH", "", {"role": None}, "role"),
        ("PATCH", "", {"available": "yes"}, "available"),
        ("PUT", "/role", {}, "roleId"),
        ("PUT", "/role", {"roleId": "ADMIN"}, "roleId"),
        ("PUT", "/role", {"roleId": str(roles.ADMIN.id), "status": "ACTIVE"}, "status"),
        ("PUT", "/permissions", {"granted": [], "denied": [], "role": "ADMIN"}, "role"),
        ("PUT", "/permissions", {"granted": [], "denied": [], "orgId": str(UUID(int=1))}, "orgId"),
        ("POST", "/reject", {"reason": "No.", "status": "ACTIVE"}, "status"),
    ],
)
async def test_an_invalid_field_is_reported_and_nothing_changes(
    desk: Desk, method: str, path: str, body: object, wrong: str
) -> None:
    row = await add_user(desk)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    answer = await desk.admin.http.request(method, f"/users/{row.id}{path}", json=body, headers=desk.admin.headers)
    assert read_invalid_fields(answer) == {wrong}
    assert ok(await desk.admin.get(f"/users/{row.id}")) == before
    assert await list_events(desk, row.id) == []


async def test_an_erased_user_cannot_be_changed(desk: Desk) -> None:
    row = await add_user(desk, created_at=real_now(), status="ERASED")
    assert_problem(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}), 404, "user_not_found")
    assert_problem(await desk.admin.get(f"/users/{row.id}"), 404, "user_not_found")
    assert [one["id"] for one in ok(await desk.admin.get("/users"))["items"]] == [str(desk.admin.id)]
