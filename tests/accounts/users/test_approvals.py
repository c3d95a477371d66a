"""Approve and reject users who signed up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.accounts.roles.rules import ENGINEER as ENGINEER_ROLE
from app.accounts.single_use_links.models import LinkPurpose
from app.core.database.pool import Database
from tests.accounts.users_and_roles import (
    ADMIN,
    CUSTOMER,
    add_role,
    add_user,
    add_user_with_permissions,
    list_events,
    ok,
    read_row,
)
from tests.authentication.account_state import latest_token, verify_email
from tests.organisation_client import PASSWORD, Api, Desk, create_desk, open_session
from tests.problems import assert_problem, read_invalid_fields
from tests.services import unique_email


async def test_an_approved_user_can_act(desk: Desk) -> None:
    row = await add_user(desk, status="PENDING")
    user = await open_session(desk, row)
    assert_problem(await user.get("/me"), 401, "invalid_token")
    result = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (result["id"], result["status"]) == (str(row.id), "ACTIVE")
    ok(await user.get("/me"))
    assert await list_events(desk, row.id) == [("user.approved", {}), ("user.became_available", {})]


async def test_sign_ups_that_wait_are_found_by_status_and_role(desk: Desk) -> None:
    engineer, admin = await add_user(desk, status="PENDING"), await add_user(desk, ADMIN, status="PENDING")
    query = {"status": "PENDING", "role": "ENGINEER"}
    assert [one["id"] for one in ok(await desk.admin.get("/users", params=query))["items"]] == [str(engineer.id)]
    ok(await desk.admin.post(f"/users/{engineer.id}/approve"))
    ok(await desk.admin.post(f"/users/{admin.id}/reject"))
    assert ok(await desk.admin.get("/users", params={"status": "PENDING"}))["items"] == []


async def test_waiting_tickets_are_assigned_to_an_approved_engineer(desk: Desk) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    ticket, row = await desk.open(), await add_user(desk, status="PENDING")
    assert ticket["adminId"] is None
    assert ok(await desk.admin.post(f"/users/{row.id}/approve"))["available"] is True
    assert (await desk.read(ticket))["adminId"] == str(row.id)
    kinds = [kind for kind, _ in await list_events(desk, row.id)]
    assert kinds[:2] == ["user.approved", "user.became_available"]


async def test_an_approved_customer_is_not_available(desk: Desk) -> None:
    row = await add_user(desk, CUSTOMER, status="PENDING")
    result = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (result["status"], result["available"]) == ("ACTIVE", False)
    assert await list_events(desk, row.id) == [("user.approved", {})]


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "INVITED"])
async def test_a_user_who_was_never_active_cannot_be_available(desk: Desk, status: str) -> None:
    row = await add_user(desk, status=status)
    assert_problem(await desk.admin.patch(f"/users/{row.id}", {"available": True}), 409, "not_active_yet")
    result = ok(await desk.admin.patch(f"/users/{row.id}", {"available": False}))
    assert (result["status"], result["available"]) == (status, False)
    assert await list_events(desk, row.id) == []


async def test_a_rejected_user_is_not_available(desk: Desk) -> None:
    row = await add_user(desk, status="PENDING")
    assert ok(await desk.admin.post(f"/users/{row.id}/reject"))["available"] is False


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, None),
        ({}, None),
        ({"reason": None}, None),
        ({"reason": " Use your work e-mail.\nPlease. "}, "Use your work e-mail.\nPlease."),
    ],
)
async def test_a_rejection_stores_the_reason_if_one_is_given(desk: Desk, body: Any, reason: str | None) -> None:
    row = await add_user(desk, status="PENDING")
    result = ok(await desk.admin.post(f"/users/{row.id}/reject", body))
    assert (result["status"], result["statusReason"]) == ("REJECTED", reason)
    assert await list_events(desk, row.id) == [("user.rejected", {})]


async def test_a_rejection_needs_no_body(desk: Desk) -> None:
    row = await add_user(desk, status="PENDING")
    answer = await desk.admin.http.post(f"/users/{row.id}/reject", headers=desk.admin.headers)
    assert ok(answer)["status"] == "REJECTED"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\0b", 7, ["No."]])
async def test_an_invalid_reason_is_refused(desk: Desk, reason: object) -> None:
    row = await add_user(desk, status="PENDING")
    assert read_invalid_fields(await desk.admin.post(f"/users/{row.id}/reject", {"reason": reason})) == {"reason"}
    assert (await read_row(desk, row.id)).status == "PENDING"


async def test_a_rejected_user_can_still_be_approved(desk: Desk) -> None:
    row = await add_user(desk, status="PENDING")
    ok(await desk.admin.post(f"/users/{row.id}/reject", {"reason": "Unknown person."}))
    result = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (result["status"], result["statusReason"]) == ("ACTIVE", None)


@pytest.mark.parametrize(
    ("status", "verb"),
    [
        *((status, "approve") for status in ("ACTIVE", "SUSPENDED", "INVITED")),
        *((status, "reject") for status in ("ACTIVE", "SUSPENDED", "INVITED", "REJECTED")),
    ],
)
async def test_only_pending_accounts_can_be_approved_or_rejected(desk: Desk, status: str, verb: str) -> None:
    row = await add_user(desk, status=status)
    assert_problem(await desk.admin.post(f"/users/{row.id}/{verb}"), 409, "not_pending")
    assert (await read_row(desk, row.id)).status == status
    assert await list_events(desk, row.id) == []


async def test_users_cannot_approve_themselves(desk: Desk) -> None:
    waiting = await open_session(desk, await add_user(desk, ADMIN, status="PENDING"))
    assert_problem(await waiting.post(f"/users/{waiting.id}/approve"), 401, "invalid_token")
    assert_problem(await desk.admin.post(f"/users/{desk.admin.id}/approve"), 409, "not_pending")


async def test_a_caller_with_fewer_permissions_cannot_decide_about_an_admin(desk: Desk) -> None:
    limited, row = (
        await add_user_with_permissions(desk, "users:view", "users:update"),
        await add_user(desk, ADMIN, status="PENDING"),
    )
    for verb in ("approve", "reject"):
        assert_problem(await limited.post(f"/users/{row.id}/{verb}"), 403, "privilege_escalation")
    assert (await read_row(desk, row.id)).status == "PENDING"


async def test_a_caller_of_a_lower_role_kind_cannot_decide_about_an_admin_with_few_permissions(desk: Desk) -> None:
    limited = await add_user_with_permissions(desk, "users:view", "users:update")
    row = await add_user(desk, ADMIN, status="PENDING", role_id=await add_role(desk, "users:view", role=ADMIN))
    for verb in ("approve", "reject"):
        assert_problem(await limited.post(f"/users/{row.id}/{verb}"), 403, "privilege_escalation")
    assert (await read_row(desk, row.id)).status == "PENDING"


async def test_an_admin_of_another_organisation_cannot_decide(api: Api, database: Database, desk: Desk) -> None:
    row, stranger = await add_user(desk, CUSTOMER, status="PENDING"), (await create_desk(api, database)).admin
    for verb in ("approve", "reject"):
        assert_problem(await stranger.post(f"/users/{row.id}/{verb}"), 404, "user_not_found")
        assert_problem(await stranger.post(f"/users/{UUID(int=1)}/{verb}"), 404, "user_not_found")
    assert (await read_row(desk, row.id)).status == "PENDING"


async def sign_up(desk: Desk, role: str) -> str:
    """Sign up over HTTP without following the link; return the id."""
    body = {"org": desk.domain, "role": role, "firstName": "Eve", "email": unique_email(), "password": PASSWORD}
    answer = await desk.api.http.post("/auth/signup", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def test_a_sign_up_whose_address_was_never_proved_gets_no_higher_role(desk: Desk) -> None:
    """Anyone can sign up with the address of a colleague, and with a password of their own."""
    waiting = await sign_up(desk, "ENGINEER")
    customer = await sign_up(desk, "CUSTOMER")
    answers = [
        await desk.admin.patch(f"/users/{waiting}", {"role": "ADMIN"}),
        *[await desk.admin.patch(f"/users/{customer}", {"role": role}) for role in ("ENGINEER", "ADMIN")],
        await desk.admin.put(f"/users/{customer}/role", {"roleId": str(ENGINEER_ROLE.id)}),
    ]
    for answer in answers:
        assert "POST /users" in assert_problem(answer, 403, "email_not_verified")["detail"]
    assert ok(await desk.admin.get(f"/users/{customer}"))["role"] == "CUSTOMER"


async def test_an_admin_decides_about_a_waiting_sign_up_knowing_that_the_address_is_not_proved(desk: Desk) -> None:
    waiting = await sign_up(desk, "ENGINEER")
    assert ok(await desk.admin.get(f"/users/{waiting}"))["emailVerified"] is False
    assert ok(await desk.admin.post(f"/users/{waiting}/approve"))["role"] == "ENGINEER"
    assert_problem(await desk.admin.patch(f"/users/{waiting}", {"role": "ADMIN"}), 403, "email_not_verified")


async def test_a_sign_up_is_approved_and_promoted_once_the_address_is_proved(desk: Desk) -> None:
    user_id = await sign_up(desk, "ENGINEER")
    token = await latest_token(desk, UUID(user_id), LinkPurpose.VERIFY_EMAIL)
    ok(await verify_email(desk.api.http, token))
    assert ok(await desk.admin.post(f"/users/{user_id}/approve"))["status"] == "ACTIVE"
    assert ok(await desk.admin.patch(f"/users/{user_id}", {"role": "ADMIN"}))["role"] == "ADMIN"


async def test_an_admin_made_with_the_secret_key_can_be_promoted_again_without_proof(desk: Desk) -> None:
    body = {"firstName": "Bo", "email": unique_email(), "password": PASSWORD, "secret": desk.secret}
    user_id = (await desk.api.http.post("/auth/admin/signup", json=body)).json()["id"]
    for role in ("CUSTOMER", "ENGINEER", "ADMIN"):
        assert ok(await desk.admin.patch(f"/users/{user_id}", {"role": role}))["role"] == role
