"""Deciding about those who signed up and wait."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.core.database.pool import Database
from tests.accounts.crew import ADMIN, CUSTOMER, a_role, events_about, hire, ok, row_of, with_only
from tests.organisation_client import Api, Desk, create_desk, open_session
from tests.problems import refused, wrong_fields


async def test_who_is_approved_can_act(desk: Desk) -> None:
    row = await hire(desk, status="PENDING")
    device = await open_session(desk, row)
    refused(await device.get("/me"), 401, "invalid_token")
    said = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (said["id"], said["status"]) == (str(row.id), "ACTIVE")
    ok(await device.get("/me"))
    assert await events_about(desk, row.id) == [("user.approved", {}), ("user.became_available", {})]


async def test_who_waits_is_found_by_status_and_role(desk: Desk) -> None:
    engineer, admin = await hire(desk, status="PENDING"), await hire(desk, ADMIN, status="PENDING")
    query = {"status": "PENDING", "role": "ENGINEER"}
    assert [one["id"] for one in ok(await desk.admin.get("/users", params=query))["items"]] == [str(engineer.id)]
    ok(await desk.admin.post(f"/users/{engineer.id}/approve"))
    ok(await desk.admin.post(f"/users/{admin.id}/reject"))
    assert ok(await desk.admin.get("/users", params={"status": "PENDING"}))["items"] == []


async def test_with_the_approval_they_are_available_and_get_the_tickets_that_were_waiting(desk: Desk) -> None:
    ok(await desk.admin.patch("/me", {"available": False}))
    ticket, row = await desk.open(), await hire(desk, status="PENDING")
    assert ticket["adminId"] is None
    assert ok(await desk.admin.post(f"/users/{row.id}/approve"))["available"] is True
    assert (await desk.read(ticket))["adminId"] == str(row.id)
    kinds = [kind for kind, _ in await events_about(desk, row.id)]
    assert kinds[:2] == ["user.approved", "user.became_available"]


async def test_a_customer_who_is_approved_is_not_available(desk: Desk) -> None:
    row = await hire(desk, CUSTOMER, status="PENDING")
    said = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (said["status"], said["available"]) == ("ACTIVE", False)
    assert await events_about(desk, row.id) == [("user.approved", {})]


@pytest.mark.parametrize("status", ["PENDING", "REJECTED", "INVITED"])
async def test_nobody_is_available_before_they_can_act(desk: Desk, status: str) -> None:
    row = await hire(desk, status=status)
    refused(await desk.admin.patch(f"/users/{row.id}", {"available": True}), 409, "not_active_yet")
    said = ok(await desk.admin.patch(f"/users/{row.id}", {"available": False}))
    assert (said["status"], said["available"]) == (status, False)
    assert await events_about(desk, row.id) == []


async def test_who_is_rejected_is_not_available(desk: Desk) -> None:
    row = await hire(desk, status="PENDING")
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
async def test_who_is_rejected_is_told_why_if_it_was_said(desk: Desk, body: Any, reason: str | None) -> None:
    row = await hire(desk, status="PENDING")
    said = ok(await desk.admin.post(f"/users/{row.id}/reject", body))
    assert (said["status"], said["statusReason"]) == ("REJECTED", reason)
    assert await events_about(desk, row.id) == [("user.rejected", {})]


async def test_a_rejection_needs_no_body_at_all(desk: Desk) -> None:
    row = await hire(desk, status="PENDING")
    answer = await desk.admin.http.post(f"/users/{row.id}/reject", headers=desk.admin.headers)
    assert ok(answer)["status"] == "REJECTED"


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "a\0b", 7, ["No."]])
async def test_a_reason_is_a_text(desk: Desk, reason: object) -> None:
    row = await hire(desk, status="PENDING")
    assert wrong_fields(await desk.admin.post(f"/users/{row.id}/reject", {"reason": reason})) == {"reason"}
    assert (await row_of(desk, row.id)).status == "PENDING"


async def test_who_was_rejected_can_be_approved_after_all(desk: Desk) -> None:
    row = await hire(desk, status="PENDING")
    ok(await desk.admin.post(f"/users/{row.id}/reject", {"reason": "Who is that?"}))
    said = ok(await desk.admin.post(f"/users/{row.id}/approve"))
    assert (said["status"], said["statusReason"]) == ("ACTIVE", None)


@pytest.mark.parametrize(
    ("status", "verb"),
    [
        *((status, "approve") for status in ("ACTIVE", "SUSPENDED", "INVITED")),
        *((status, "reject") for status in ("ACTIVE", "SUSPENDED", "INVITED", "REJECTED")),
    ],
)
async def test_there_is_nothing_to_decide_about_others(desk: Desk, status: str, verb: str) -> None:
    row = await hire(desk, status=status)
    refused(await desk.admin.post(f"/users/{row.id}/{verb}"), 409, "not_pending")
    assert (await row_of(desk, row.id)).status == status
    assert await events_about(desk, row.id) == []


async def test_nobody_approves_themselves(desk: Desk) -> None:
    waiting = await open_session(desk, await hire(desk, ADMIN, status="PENDING"))
    refused(await waiting.post(f"/users/{waiting.id}/approve"), 401, "invalid_token")
    refused(await desk.admin.post(f"/users/{desk.admin.id}/approve"), 409, "not_pending")


async def test_who_may_do_less_does_not_decide_about_an_admin(desk: Desk) -> None:
    few, row = await with_only(desk, "users:view", "users:update"), await hire(desk, ADMIN, status="PENDING")
    for verb in ("approve", "reject"):
        refused(await few.post(f"/users/{row.id}/{verb}"), 403, "privilege_escalation")
    assert (await row_of(desk, row.id)).status == "PENDING"


async def test_who_is_less_does_not_decide_about_an_admin_who_may_do_as_little(desk: Desk) -> None:
    few = await with_only(desk, "users:view", "users:update")
    row = await hire(desk, ADMIN, status="PENDING", role_id=await a_role(desk, "users:view", role=ADMIN))
    for verb in ("approve", "reject"):
        refused(await few.post(f"/users/{row.id}/{verb}"), 403, "privilege_escalation")
    assert (await row_of(desk, row.id)).status == "PENDING"


async def test_a_stranger_decides_about_nobody(api: Api, database: Database, desk: Desk) -> None:
    row, stranger = await hire(desk, CUSTOMER, status="PENDING"), (await create_desk(api, database)).admin
    for verb in ("approve", "reject"):
        refused(await stranger.post(f"/users/{row.id}/{verb}"), 404, "user_not_found")
        refused(await stranger.post(f"/users/{UUID(int=1)}/{verb}"), 404, "user_not_found")
    assert (await row_of(desk, row.id)).status == "PENDING"
