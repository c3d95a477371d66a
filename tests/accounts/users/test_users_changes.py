"""Changing somebody's role, status and availability."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.access.permissions import RoleKind
from app.accounts.roles import rules as roles
from app.accounts.single_use_links import service as links
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.authentication.sessions.models import Session
from app.core.clock import real_now
from app.core.database.pool import Database
from tests.accounts.crew import ADMIN, CUSTOMER, ENGINEER, a_role, events_about, hire, ok, row_of, sign_in
from tests.organisation_client import JSON, Api, Desk, create_desk, open_session
from tests.problems import refused, wrong_fields


def changed(before: UUID, after: UUID, kinds: str) -> JSON:
    """What the history says of a change of role."""
    from_role, to_role = kinds.split(" to ")
    return {"fromRole": from_role, "toRole": to_role, "fromRoleId": str(before), "toRoleId": str(after)}


# --- roles ------------------------------------------------------------------------------------------------------------


async def test_somebody_is_given_another_built_in_role(desk: Desk) -> None:
    row = await hire(desk)
    said = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ADMIN"}))
    assert (said["role"], said["roleId"], said["designation"]) == ("ADMIN", str(roles.ADMIN.id), "Admin")
    assert ok(await desk.admin.get(f"/users/{row.id}")) == said
    expected = changed(roles.ENGINEER.id, roles.ADMIN.id, "ENGINEER to ADMIN")
    assert await events_about(desk, row.id) == [("user.role_changed", expected)]


async def test_a_demotion_acts_on_live_tokens_at_once(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # of which users are remembered for some seconds
    engineer = await sign_in(desk)
    ok(await engineer.get("/users"))
    ok(await desk.admin.patch(f"/users/{engineer.id}", {"role": "CUSTOMER"}))
    refused(await engineer.get("/users"), 403, "permission_required")
    assert ok(await engineer.get("/me"))["role"] == "CUSTOMER"
    ok(await desk.admin.put(f"/users/{engineer.id}/role", {"roleId": str(roles.ENGINEER.id)}))
    ok(await engineer.get("/users"))


async def test_a_role_of_the_organisations_own_is_given_and_taken(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    engineer, role_id = await sign_in(desk), await a_role(desk, "keys:view", role=ADMIN)
    ok(await engineer.get("/users"))
    said = ok(await desk.admin.put(f"/users/{engineer.id}/role", {"roleId": str(role_id)}))
    assert (said["role"], said["roleId"]) == ("ADMIN", str(role_id))
    assert said["designation"].startswith("Role ")
    refused(await engineer.get("/users"), 403, "permission_required")

    said = ok(await desk.admin.patch(f"/users/{engineer.id}", {"role": "ENGINEER"}))
    assert (said["roleId"], said["designation"]) == (str(roles.ENGINEER.id), "Engineer")
    assert [data for _, data in await events_about(desk, engineer.id)] == [
        changed(roles.ENGINEER.id, role_id, "ENGINEER to ADMIN"),
        changed(role_id, roles.ENGINEER.id, "ADMIN to ENGINEER"),
    ]


async def test_the_built_in_role_of_the_same_kind_replaces_ones_own(desk: Desk) -> None:
    row = await hire(desk, role_id=await a_role(desk, "tickets:view"))
    said = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ENGINEER"}))
    assert said["roleId"] == str(roles.ENGINEER.id)


async def test_who_becomes_a_customer_is_not_available_any_more(desk: Desk) -> None:
    row = await hire(desk, available=True)
    said = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "CUSTOMER"}))
    assert (said["role"], said["available"]) == ("CUSTOMER", False)
    assert [kind for kind, _ in await events_about(desk, row.id)] == ["user.role_changed"]


async def test_a_role_that_is_not_there_is_refused(api: Api, database: Database, desk: Desk) -> None:
    row = await hire(desk)
    elsewhere = await a_role(await create_desk(api, database), "tickets:view")
    for role_id in (elsewhere, UUID(int=1)):
        answer = await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(role_id)})
        assert wrong_fields(answer) == {"roleId"}
    assert (await row_of(desk, row.id)).role_id is None
    assert await events_about(desk, row.id) == []


# --- status -----------------------------------------------------------------------------------------------------------


async def test_who_is_suspended_is_out_at_once_and_stays_out(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    row = await hire(desk)
    phone, laptop = await open_session(desk, row), await open_session(desk, row)
    async with database.session(desk.id) as db:
        for purpose in LinkPurpose:
            links.issue(db, desk.id, row.id, row.email, purpose)
    ok(await phone.get("/me"))

    assert ok(await desk.admin.patch(f"/users/{row.id}", {"status": "SUSPENDED"}))["status"] == "SUSPENDED"
    for device in (phone, laptop):
        refused(await device.get("/me"), 401, "invalid_token")
    async with database.session(desk.id) as db:
        purposes = set(await db.scalars(select(Link.purpose).where(Link.org_id == desk.id)))
        sessions = await db.scalar(select(func.count()).where(Session.org_id == desk.id, Session.user_id == row.id))
    assert purposes == set(LinkPurpose) - {LinkPurpose.RESET_PASSWORD, LinkPurpose.SIGN_IN}
    assert sessions == 0

    assert ok(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}))["status"] == "ACTIVE"
    refused(await phone.get("/me"), 401, "invalid_token")
    assert [kind for kind, _ in await events_about(desk, row.id)] == ["user.suspended", "user.reactivated"]
    ok(await (await open_session(desk, row)).get("/me"))


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "INVITED"])
@pytest.mark.parametrize("wanted", ["ACTIVE", "SUSPENDED"])
async def test_who_was_never_active_is_neither_suspended_nor_reactivated(desk: Desk, status: str, wanted: str) -> None:
    row = await hire(desk, status=status)
    problem = refused(await desk.admin.patch(f"/users/{row.id}", {"status": wanted}), 409, "not_active_yet")
    assert ("invitation" if status == "INVITED" else "/approve") in problem["detail"]
    assert (await row_of(desk, row.id)).status == status
    assert await events_about(desk, row.id) == []


async def test_a_refused_change_changes_nothing_at_all(desk: Desk) -> None:
    row = await hire(desk, status="PENDING")
    answer = await desk.admin.patch(f"/users/{row.id}", {"role": "ADMIN", "available": True, "status": "ACTIVE"})
    refused(answer, 409, "not_active_yet")
    after = await row_of(desk, row.id)
    assert (after.role_kind, after.available, after.status) == ("ENGINEER", False, "PENDING")


async def test_ones_own_account_can_be_suspended_where_another_admin_is_left(desk: Desk) -> None:
    other = await desk.another_admin()
    assert ok(await other.patch(f"/users/{other.id}", {"status": "SUSPENDED"}))["status"] == "SUSPENDED"
    refused(await other.get("/me"), 401, "invalid_token")


# --- availability -----------------------------------------------------------------------------------------------------


async def test_who_is_made_available_gets_what_was_waiting(desk: Desk) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    ticket, row = await desk.open(), await hire(desk)
    assert ticket["adminId"] is None
    assert ok(await desk.admin.patch(f"/users/{row.id}", {"available": True}))["available"] is True
    assert (await desk.read(ticket))["adminId"] == str(row.id)
    ok(await desk.admin.patch(f"/users/{row.id}", {"available": False}))
    kinds = [kind for kind, _ in await events_about(desk, row.id) if kind.startswith("user.")]
    assert kinds == ["user.became_available", "user.became_unavailable"]


async def test_availability_counts_once_somebody_can_act(desk: Desk) -> None:
    row = await hire(desk, status="SUSPENDED")
    ok(await desk.admin.patch(f"/users/{row.id}", {"available": True}))
    assert await events_about(desk, row.id) == []
    ok(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}))
    kinds = [kind for kind, _ in await events_about(desk, row.id)]
    assert kinds == ["user.reactivated", "user.became_available"]


@pytest.mark.parametrize(("role", "change"), [(CUSTOMER, {}), (ENGINEER, {"role": "CUSTOMER"})])
async def test_a_customer_cannot_be_available(desk: Desk, role: RoleKind, change: dict[str, object]) -> None:
    row = await hire(desk, role)
    answer = await desk.admin.patch(f"/users/{row.id}", {**change, "available": True})
    assert wrong_fields(answer, "customer_not_available") == {"available"}
    assert (await row_of(desk, row.id)).role_kind == role


async def test_a_customer_who_becomes_an_engineer_can(desk: Desk) -> None:
    row = await hire(desk, CUSTOMER)
    said = ok(await desk.admin.patch(f"/users/{row.id}", {"role": "ENGINEER", "available": True}))
    assert (said["role"], said["available"]) == ("ENGINEER", True)


# --- input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same", [{}, {"role": "ENGINEER", "status": "ACTIVE", "available": False}])
async def test_the_same_values_again_change_nothing(desk: Desk, same: dict[str, object]) -> None:
    row = await hire(desk)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    assert ok(await desk.admin.patch(f"/users/{row.id}", same)) == before
    assert ok(await desk.admin.put(f"/users/{row.id}/role", {"roleId": str(roles.ENGINEER.id)})) == before
    assert await events_about(desk, row.id) == []


async def test_a_wrong_status_is_answered_with_those_that_can_be_set(desk: Desk) -> None:
    row = await hire(desk)
    answer = await desk.admin.patch(f"/users/{row.id}", {"status": "PENDING"})
    faults = refused(answer, 422, "invalid_input")["errors"]
    assert faults == [{"field": "status", "message": "Input should be 'ACTIVE' or 'SUSPENDED'"}]


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
async def test_a_wrong_field_is_named_and_changes_nothing(
    desk: Desk, method: str, path: str, body: object, wrong: str
) -> None:
    row = await hire(desk)
    before = ok(await desk.admin.get(f"/users/{row.id}"))
    answer = await desk.admin.http.request(method, f"/users/{row.id}{path}", json=body, headers=desk.admin.headers)
    assert wrong_fields(answer) == {wrong}
    assert ok(await desk.admin.get(f"/users/{row.id}")) == before
    assert await events_about(desk, row.id) == []


async def test_an_erased_user_cannot_be_changed(desk: Desk) -> None:
    row = await hire(desk, created_at=real_now(), status="ERASED")
    refused(await desk.admin.patch(f"/users/{row.id}", {"status": "ACTIVE"}), 404, "user_not_found")
    refused(await desk.admin.get(f"/users/{row.id}"), 404, "user_not_found")
    assert [one["id"] for one in ok(await desk.admin.get("/users"))["items"]] == [str(desk.admin.id)]
