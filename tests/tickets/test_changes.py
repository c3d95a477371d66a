"""Changes of tickets: of the status by three operations, and of other fields by two."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    event_types,
    parse_time,
    read_event_numbers,
    read_ticket_timers,
    suspend,
)
from tests.tickets.users import add_customer, add_engineer

STATUSES = ("OPEN", "IN_PROGRESS", "RESPONDED", "RESOLVED", "CLOSED")


async def by_status(desk: Desk, ticket: JSON, body: JSON) -> httpx.Response:
    return await desk.admin.post(f"/tickets/{ticket['id']}/change_status", body)


async def by_post(desk: Desk, ticket: JSON, body: JSON) -> httpx.Response:
    return await desk.admin.post(f"/tickets/{ticket['id']}", body)


async def by_patch(desk: Desk, ticket: JSON, body: JSON) -> httpx.Response:
    return await desk.admin.patch(f"/tickets/{ticket['id']}", body)


any_operation = pytest.mark.parametrize("change", [by_status, by_post, by_patch])
either_edit = pytest.mark.parametrize("change", [by_post, by_patch])


async def changed_ticket(answer: httpx.Response) -> JSON:
    assert answer.status_code == 200, answer.text
    ticket: JSON = answer.json()
    return ticket


async def read_without_comments(desk: Desk, ticket: JSON) -> JSON:
    """Read a ticket without its comments."""
    read = await desk.read(ticket)
    return {name: value for name, value in read.items() if name != "comments"}


@any_operation
async def test_a_change_of_status_returns_the_ticket_and_is_recorded(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    answer = await change(desk, ticket, {"status": "IN_PROGRESS"})

    changed = await changed_ticket(answer)
    assert changed == ticket | {"status": "IN_PROGRESS", "version": 2, "updatedAt": changed["updatedAt"]}
    assert parse_time(changed["updatedAt"]) > parse_time(ticket["updatedAt"])
    assert answer.headers["etag"] == '"2"'
    assert await read_without_comments(desk, ticket) == changed
    last = (await desk.history(ticket))[-1]
    assert (last["type"], last["data"]) == ("ticket.status_changed", {"from": "OPEN", "to": "IN_PROGRESS"})
    assert last["createdAt"] == changed["updatedAt"]


@any_operation
@pytest.mark.parametrize("status", STATUSES)
async def test_the_same_status_again_changes_nothing(desk: Desk, change: Any, status: str) -> None:
    ticket = await desk.open()
    await change(desk, ticket, {"status": status})
    before, events, due = (
        await read_without_comments(desk, ticket),
        await read_event_numbers(desk),
        await read_ticket_timers(desk, ticket),
    )

    answer = await change(desk, ticket, {"status": status})

    assert await changed_ticket(answer) == before
    assert answer.headers["etag"] == f'"{before["version"]}"'
    assert await read_event_numbers(desk) == events
    assert await read_ticket_timers(desk, ticket) == due


@any_operation
async def test_entering_responded_starts_the_countdown_and_leaving_it_cancels_it(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    responded = await changed_ticket(await change(desk, ticket, {"status": "RESPONDED"}))
    due = await read_ticket_timers(desk, ticket)
    resolved = await changed_ticket(await change(desk, ticket, {"status": "RESOLVED"}))

    assert responded["respondedAt"] == responded["updatedAt"]
    assert (parse_time(responded["autoCloseAt"]) - parse_time(responded["respondedAt"])).days == 30
    assert due["AUTO_CLOSE"] == parse_time(responded["autoCloseAt"])
    assert set(due) == {"AUTO_CLOSE", "AUTO_CLOSE_REMINDER"}
    assert (resolved["respondedAt"], resolved["autoCloseAt"]) == (responded["respondedAt"], None)
    assert await read_ticket_timers(desk, ticket) == {}


@any_operation
async def test_closing_sets_the_time_and_reopening_clears_it(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    closed = await changed_ticket(await change(desk, ticket, {"status": "CLOSED"}))
    reopened = await changed_ticket(await change(desk, ticket, {"status": "OPEN"}))

    assert closed["closedAt"] == closed["updatedAt"]
    assert (reopened["status"], reopened["closedAt"]) == ("OPEN", None)


@any_operation
async def test_a_closed_ticket_that_becomes_responded_has_a_countdown_again(desk: Desk, change: Any) -> None:
    ticket = await desk.open()
    await change(desk, ticket, {"status": "CLOSED"})

    responded = await changed_ticket(await change(desk, ticket, {"status": "RESPONDED"}))

    assert responded["closedAt"] is None
    assert (await read_ticket_timers(desk, ticket))["AUTO_CLOSE"] == parse_time(responded["autoCloseAt"])


@any_operation
@pytest.mark.parametrize("value", ["open", "DONE", "", None, 1, ["OPEN"]])
async def test_an_invalid_status_is_refused(desk: Desk, change: Any, value: object) -> None:
    ticket = await desk.open()

    answer = await change(desk, ticket, {"status": value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "status")
    assert await read_without_comments(desk, ticket) == ticket


@any_operation
async def test_unknown_fields_are_refused(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    for field in ("number", "version", "closedAt", "addedBy", "id", "secret"):
        answer = await change(desk, ticket, {"status": "CLOSED", field: ticket.get(field)})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert await read_without_comments(desk, ticket) == ticket


async def test_a_change_of_status_requires_a_status(desk: Desk) -> None:
    answer = await by_status(desk, await desk.open(), {})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "status")


@either_edit
async def test_every_field_can_be_changed_at_once(desk: Desk, change: Any) -> None:
    bo = await desk.another_admin()
    ticket = await desk.open()
    assert ticket["assigneeId"] != str(bo.id) or await changed_ticket(await change(desk, ticket, {"assigneeId": None}))
    before = await read_without_comments(desk, ticket)
    wanted = {
        "title": "Another",
        "description": "A part of it.",
        "priority": "CRITICAL",
        "status": "RESPONDED",
        "assigneeId": str(bo.id),
        "orgId": str(desk.id),
    }

    changed = await changed_ticket(await change(desk, ticket, wanted))

    assert wanted.items() <= changed.items()
    assert changed["assignee"] == {"id": str(bo.id), "email": bo.email, "firstName": "Ada", "lastName": "Lovelace"}
    assert changed["version"] == before["version"] + 1
    assert set(await read_ticket_timers(desk, ticket)) == {"AUTO_CLOSE", "AUTO_CLOSE_REMINDER"}
    updated, assigned, moved = (await desk.history(ticket))[-3:]
    assert updated["type"] == "ticket.updated"
    assert updated["data"] == {
        "changes": {
            "title": {"from": "It broke", "to": "Another"},
            "description": {},
            "priority": {"from": "MEDIUM", "to": "CRITICAL"},
        }
    }
    assert assigned["data"] == {"assigneeId": str(bo.id), "previousAssigneeId": before["assigneeId"]}
    assert moved["data"] == {"from": "OPEN", "to": "RESPONDED"}
    assert {event["actor"]["id"] for event in (updated, assigned, moved)} == {str(desk.admin.id)}
    await assert_events_are_numbered_without_gaps(desk)


@either_edit
@pytest.mark.parametrize(
    ("field", "value"), [("title", "Another"), ("description", "A part of it."), ("priority", "LOW")]
)
async def test_one_field_can_be_changed_alone(desk: Desk, change: Any, field: str, value: str) -> None:
    ticket = await desk.open()

    changed = await changed_ticket(await change(desk, ticket, {field: value}))

    assert changed == ticket | {field: value, "version": 2, "updatedAt": changed["updatedAt"]}
    assert (await event_types(desk, ticket))[2:] == ["ticket.updated"]


@either_edit
async def test_the_same_values_again_change_nothing(desk: Desk, change: Any) -> None:
    ticket = await desk.open()
    events = await read_event_numbers(desk)
    same = {name: ticket[name] for name in ("title", "description", "priority", "status", "assigneeId", "orgId")}

    for body in (same, {}, {"orgId": ticket["orgId"]}, {"title": f" {ticket['title']} "}):
        assert await changed_ticket(await change(desk, ticket, body)) == ticket
    assert await read_event_numbers(desk) == events


@either_edit
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""), ("title", None), ("title", "x" * 256), ("description", None), ("description", "\x00"),
        ("priority", None), ("priority", "high"), ("assigneeId", "ada"), ("assigneeId", 5),
        ("orgId", None), ("orgId", "x"),
    ],
)  # fmt: skip
async def test_an_invalid_value_is_named_and_changes_nothing(desk: Desk, change: Any, field: str, value: Any) -> None:
    ticket = await desk.open()

    answer = await change(desk, ticket, {"status": "CLOSED", field: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert await read_without_comments(desk, ticket) == ticket


@either_edit
async def test_a_ticket_stays_in_its_organisation(desk: Desk, change: Any, api: Api, database: Database) -> None:
    other, ticket = await create_desk(api, database), await desk.open()
    events = await read_event_numbers(desk)

    for org_id in (other.id, uuid4()):
        answer = await change(desk, ticket, {"orgId": str(org_id), "title": "Another", "status": "CLOSED"})
        assert (answer.status_code, answer.json()["code"]) == (422, "org_mismatch")
        assert [error["field"] for error in answer.json()["errors"]] == ["orgId"]
    assert await read_without_comments(desk, ticket) == ticket
    assert await read_event_numbers(desk) == events


@either_edit
async def test_only_an_active_admin_or_engineer_of_the_organisation_can_be_the_assignee(
    desk: Desk, change: Any, api: Api, database: Database
) -> None:
    foreign, gone = (await create_desk(api, database)).admin, await desk.another_admin(available=False)
    await suspend(desk, gone.id)
    pending, customer = await add_engineer(desk, status="PENDING"), await add_customer(desk, available=True)
    ticket = await desk.open()
    events = await read_event_numbers(desk)

    for user in (foreign.id, gone.id, pending.id, customer.id, uuid4()):
        answer = await change(desk, ticket, {"title": "Another", "status": "RESPONDED", "assigneeId": str(user)})
        assert (answer.status_code, answer.json()["code"]) == (422, "assignee_not_active")
        assert [error["field"] for error in answer.json()["errors"]] == ["assigneeId"]
    assert await read_without_comments(desk, ticket) == ticket
    assert await read_event_numbers(desk) == events
    assert await read_ticket_timers(desk, ticket) == {}


@either_edit
async def test_an_unavailable_user_can_be_made_the_assignee(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    for bo in (await desk.another_admin(available=False), await add_engineer(desk, available=False)):
        assert (await changed_ticket(await change(desk, ticket, {"assigneeId": str(bo.id)})))["assigneeId"] == str(
            bo.id
        )


@either_edit
async def test_an_unknown_ticket_is_not_found_with_any_assignee(desk: Desk, change: Any) -> None:
    for assignee_id in (str(desk.admin.id), str(uuid4())):
        answer = await change(desk, {"id": str(uuid4())}, {"assigneeId": assignee_id})
        assert (answer.status_code, answer.json()["code"]) == (404, "ticket_not_found")


@either_edit
async def test_the_assignee_can_be_removed(desk: Desk, change: Any) -> None:
    ticket = await desk.open()

    taken = await changed_ticket(await change(desk, ticket, {"assigneeId": None}))

    unassigned = {"assigneeId": None, "adminId": None, "assignee": None}
    assert taken == ticket | unassigned | {"version": 2, "updatedAt": taken["updatedAt"]}
    last = (await desk.history(ticket))[-1]
    assert (last["type"], last["data"]) == (
        "ticket.assigned",
        {"assigneeId": None, "previousAssigneeId": str(desk.admin.id)},
    )


async def test_a_change_requires_a_json_object(desk: Desk) -> None:
    ticket = await desk.open()

    for content in (b"", b"[]", b"null", b'"CLOSED"', b"{", b'{"status": NaN}'):
        for path in ("", "/change_status", "/respond"):
            answer = await desk.api.http.post(
                f"/tickets/{ticket['id']}{path}",
                content=content,
                headers=desk.admin.headers | {"Content-Type": "application/json"},
            )
            is_json = content not in {b"{", b'{"status": NaN}'}
            assert answer.status_code == (422 if is_json else 400), (content, path)
    assert await read_without_comments(desk, ticket) == ticket
