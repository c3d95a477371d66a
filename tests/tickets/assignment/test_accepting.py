"""POST /tickets/{id}/accept."""

from __future__ import annotations

import asyncio

import pytest

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    event_types,
    parse_time,
    read_event_numbers,
    read_ticket_timers,
)
from tests.tickets.users import add_engineer, change_row


@pytest.fixture
async def bo(desk: Desk) -> SignedInUser:
    """An unavailable engineer."""
    return await add_engineer(desk, available=False)


async def accept(user: SignedInUser, ticket: JSON, **headers: str) -> JSON:
    answer = await user.post(f"/tickets/{ticket['id']}/accept", **headers)
    assert answer.status_code == 200, answer.text
    accepted: JSON = answer.json()
    assert answer.headers["etag"] == f'"{accepted["version"]}"'
    return accepted


async def test_accepting_an_open_ticket_assigns_it_and_starts_the_work(desk: Desk, bo: SignedInUser) -> None:
    ticket = await desk.open()
    assert (ticket["assigneeId"], ticket["acceptedAt"]) == (str(desk.admin.id), None)

    accepted = await accept(bo, ticket)

    assert accepted == ticket | {
        "assigneeId": str(bo.id),
        "adminId": str(bo.id),
        "assignee": {"id": str(bo.id), "email": bo.email, "firstName": "Mia", "lastName": "Moreau"},
        "status": "IN_PROGRESS",
        "acceptedAt": accepted["updatedAt"],
        "updatedAt": accepted["updatedAt"],
        "version": 2,
    }
    assert parse_time(accepted["acceptedAt"]) > parse_time(ticket["createdAt"])
    assigned, taken, moved = (await desk.history(ticket))[2:]
    assert (assigned["type"], assigned["data"]) == (
        "ticket.assigned",
        {"assigneeId": str(bo.id), "previousAssigneeId": str(desk.admin.id)},
    )
    assert (taken["type"], taken["data"]) == ("ticket.accepted", {"assigneeId": str(bo.id)})
    assert (moved["type"], moved["data"]) == ("ticket.status_changed", {"from": "OPEN", "to": "IN_PROGRESS"})
    assert {event["actor"]["id"] for event in (assigned, taken, moved)} == {str(bo.id)}
    await assert_events_are_numbered_without_gaps(desk)


async def test_the_assignee_can_accept_the_ticket_without_being_assigned_again(desk: Desk) -> None:
    ticket = await desk.open()

    accepted = await accept(desk.admin, ticket)

    assert (accepted["assigneeId"], accepted["status"]) == (str(desk.admin.id), "IN_PROGRESS")
    assert (await event_types(desk, ticket))[2:] == ["ticket.accepted", "ticket.status_changed"]


@pytest.mark.parametrize("status", ["IN_PROGRESS", "RESPONDED"])
async def test_accepting_keeps_another_status_and_its_countdown(desk: Desk, bo: SignedInUser, status: str) -> None:
    ticket = await desk.open()
    before = (await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})).json()
    timers = await read_ticket_timers(desk, ticket)

    accepted = await accept(bo, ticket)

    assert (accepted["status"], accepted["autoCloseAt"]) == (status, before["autoCloseAt"])
    assert await read_ticket_timers(desk, ticket) == timers
    assert (await event_types(desk, ticket))[-2:] == ["ticket.assigned", "ticket.accepted"]


async def test_a_waiting_ticket_can_be_accepted(desk: Desk, bo: SignedInUser) -> None:
    await desk.admin.patch("/me", {"available": False})
    ticket = await desk.open()

    assert (await accept(bo, ticket))["assigneeId"] == str(bo.id)


async def test_accepting_again_changes_nothing(desk: Desk, bo: SignedInUser) -> None:
    ticket = await desk.open()
    accepted = await accept(bo, ticket)
    events = await read_event_numbers(desk)

    assert await accept(bo, ticket) == accepted
    assert await read_event_numbers(desk) == events


async def test_a_ticket_accepted_by_another_user_cannot_be_accepted(desk: Desk, bo: SignedInUser) -> None:
    ticket = await desk.open()
    accepted = await accept(bo, ticket)

    assert_problem(await desk.admin.post(f"/tickets/{ticket['id']}/accept"), 409, "already_accepted")
    assert await desk.read(ticket) == accepted | {"comments": []}


@pytest.mark.parametrize("status", ["RESOLVED", "CLOSED"])
async def test_a_resolved_or_closed_ticket_cannot_be_accepted(desk: Desk, bo: SignedInUser, status: str) -> None:
    ticket = await desk.open()
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})
    before = await desk.read(ticket)

    document = assert_problem(await bo.post(f"/tickets/{ticket['id']}/accept"), 409, "ticket_closed")

    assert status.lower() in document["detail"]
    assert await desk.read(ticket) == before


async def test_one_of_two_concurrent_users_accepts_the_ticket(desk: Desk, bo: SignedInUser) -> None:
    cy = await add_engineer(desk, available=False)
    for place in range(12):
        ticket = await desk.open()
        pair = (bo, cy) if place % 2 else (cy, bo)

        answers = await asyncio.gather(*(one.post(f"/tickets/{ticket['id']}/accept") for one in pair))

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        winner = next(one for one, answer in zip(pair, answers, strict=True) if answer.status_code == 200)
        assert next(a for a in answers if a.status_code == 409).json()["code"] == "already_accepted"
        assert (await desk.read(ticket))["assigneeId"] == str(winner.id)
        assert (await event_types(desk, ticket)).count("ticket.accepted") == 1
    await assert_events_are_numbered_without_gaps(desk)


async def test_one_of_eight_concurrent_users_accepts_the_ticket_even_with_retries(desk: Desk) -> None:
    crew = [await add_engineer(desk, available=False) for _ in range(4)]
    ticket = await desk.open()

    answers = await asyncio.gather(*(one.post(f"/tickets/{ticket['id']}/accept") for one in crew * 2))

    good = [place for place, answer in enumerate(answers) if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 409}
    assert len({place % 4 for place in good}) == 1
    assert (await event_types(desk, ticket)).count("ticket.accepted") == 1


async def test_reassigning_a_ticket_clears_the_acceptance(desk: Desk, bo: SignedInUser) -> None:
    ticket = await desk.open()
    for assignee_id in (str(desk.admin.id), None):
        await accept(bo, ticket)

        given = (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": assignee_id})).json()

        assert (given["assigneeId"], given["acceptedAt"], given["status"]) == (assignee_id, None, "IN_PROGRESS")
    await accept(desk.admin, ticket)


async def test_naming_the_same_assignee_again_keeps_the_acceptance(desk: Desk, bo: SignedInUser) -> None:
    accepted = await accept(bo, await desk.open())

    kept = await desk.admin.patch(f"/tickets/{accepted['id']}", {"assigneeId": str(bo.id), "priority": "LOW"})

    assert kept.json()["acceptedAt"] == accepted["acceptedAt"]


async def test_accepting_requires_the_permission(desk: Desk) -> None:
    ticket = await desk.open()
    cannot = await add_engineer(desk, available=False, denied=["tickets:update"])

    assert_problem(await cannot.post(f"/tickets/{ticket['id']}/accept"), 403, "permission_required")


async def test_a_user_just_suspended_or_made_a_customer_cannot_accept(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    for change in ({"status": "SUSPENDED"}, {"role_kind": "CUSTOMER"}):
        bo = await add_engineer(desk, available=False)
        ticket = await desk.open()
        assert (await bo.get("/tickets")).status_code == 200
        await change_row(desk, bo, **change)

        assert_problem(await bo.post(f"/tickets/{ticket['id']}/accept"), 422, "assignee_not_active")
        assert await desk.read(ticket) == ticket | {"comments": []}
