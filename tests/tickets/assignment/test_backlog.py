"""Waiting tickets are assigned to users who become available, oldest first and in turn."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from app.accounts.users.events import UserBecameAvailable
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM
from app.requesters.service import RequesterDetails
from app.tickets import queries
from app.tickets.assignment.backlog import assign_backlog_on_availability
from app.tickets.models import TicketPriority
from app.tickets.opening import Opening, insert_ticket
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    count_by_assignee,
    insert_many,
    list_waiting,
    pass_time,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
    skip_work,
)


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation without available users."""
    desk = await create_desk(api, database)
    await be_available(desk, available=False)
    return desk


async def be_available(desk: Desk, *, available: bool = True) -> None:
    answer = await desk.admin.patch("/me", {"available": available})
    assert answer.status_code == 200, answer.text


async def last_event(desk: Desk, ticket: JSON) -> JSON:
    return (await desk.history(ticket))[-1]


async def test_a_waiting_ticket_is_assigned_to_a_user_who_signs_up(desk: Desk) -> None:
    ticket = await desk.open()
    assert ticket["assigneeId"] is None

    bo = await desk.another_admin()

    read = await desk.read(ticket)
    assert (read["assigneeId"], read["assignee"]["email"], read["version"]) == (str(bo.id), bo.email, 2)
    event = await last_event(desk, ticket)
    assert (event["type"], event["actor"]) == ("ticket.assigned", {"type": "SYSTEM"})
    assert event["data"] == {"assigneeId": str(bo.id), "previousAssigneeId": None}


async def test_signing_up_responds_after_the_waiting_tickets_are_assigned(desk: Desk) -> None:
    ticket = await desk.open()

    body = {"firstName": "Bo", "lastName": "Diaz", "email": "bo@growfin.test", "password": "cobalt-heron-47-lamp"}
    answer = await desk.api.http.post("/auth/admin/signup", json=body | {"secret": desk.secret})

    assert answer.status_code == 201
    assert (await desk.read(ticket))["assigneeId"] == answer.json()["id"]


async def test_a_waiting_ticket_is_assigned_to_a_user_who_becomes_available(desk: Desk) -> None:
    ticket = await desk.open()

    await be_available(desk)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_waiting_tickets_are_shared_by_all_available_users_oldest_first(desk: Desk) -> None:
    tickets = [await desk.open() for _ in range(7)]
    await be_available(desk)
    for ticket in tickets:
        await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": None})

    bo = await desk.another_admin()

    assert await count_by_assignee(desk) == {desk.admin.id: 3, bo.id: 4}
    assigned = [await last_event(desk, ticket) for ticket in tickets]
    assert [event["id"] for event in assigned] == sorted(event["id"] for event in assigned)
    assert [event["data"]["assigneeId"] for event in assigned] == [str(bo.id), str(desk.admin.id)] * 3 + [str(bo.id)]
    await assert_events_are_numbered_without_gaps(desk)


async def test_finished_tickets_do_not_wait(desk: Desk) -> None:
    tickets = {status: await desk.open() for status in ("OPEN", "IN_PROGRESS", "RESPONDED", "RESOLVED", "CLOSED")}
    for status, ticket in tickets.items():
        await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})

    await be_available(desk)

    given = {status for status, ticket in tickets.items() if (await desk.read(ticket))["assigneeId"]}
    assert given == {"OPEN", "IN_PROGRESS", "RESPONDED"}


async def test_a_ticket_reopened_without_an_assignee_is_assigned(desk: Desk, database: Database) -> None:
    ticket = await desk.open()
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "CLOSED"})
    await be_available(desk)
    await run_due_timers(database)

    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "OPEN"})
    await run_due_timers(database)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_tickets_of_other_organisations_are_not_assigned(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    await be_available(other, available=False)
    ticket = await other.open()

    await be_available(desk)
    await run_due_timers(database)

    assert (await other.read(ticket))["assigneeId"] is None


async def test_waiting_changes_nothing(desk: Desk, database: Database) -> None:
    ticket = await desk.open()
    assert set(await read_ticket_timers(desk, ticket)) == {"ASSIGN"}

    await run_due_timers(database)

    assert await desk.read(ticket) == ticket | {"comments": []}
    assert await read_ticket_timers(desk, ticket) == {}


async def test_a_ticket_opened_just_before_a_user_becomes_available_is_assigned(desk: Desk, database: Database) -> None:
    new = an_opening(desk)
    async with database.driver(desk.id) as driver:
        row = await insert_ticket(driver, new)
        assert row is not None
        assert row["assignee_id"] is None
        becoming = asyncio.create_task(be_available(desk))
        await asyncio.sleep(0.2)  # the reaction looks for waiting tickets, and does not see this one
    await becoming
    assert await list_waiting(desk) == [1]

    await run_due_timers(database)

    assert await count_by_assignee(desk) == {desk.admin.id: 1}


async def test_a_ticket_opened_while_a_user_becomes_available_is_assigned(desk: Desk, database: Database) -> None:
    async with database.session(desk.id) as db:
        user = await db.get_one(User, (desk.id, desk.admin.id), with_for_update={"key_share": True})
        user.available = True
        event = UserBecameAvailable(at=real_now(), actor=SYSTEM, user_id=desk.admin.id)
        await assign_backlog_on_availability(db, desk.id, event)
        ticket = await desk.open()
        await run_due_timers(database)  # its own timer does not see the available user yet
        assert ticket["assigneeId"] is None
        assert await read_ticket_timers(desk, ticket) == {}

    await run_due_timers(database)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_a_locked_ticket_is_assigned_a_second_after_a_user_becomes_available(
    desk: Desk, database: Database
) -> None:
    busy, free = await desk.open(), await desk.open()
    await run_due_timers(database)
    async with database.session(desk.id) as db:
        await queries.lock_ticket(db, desk.id, UUID(busy["id"]))
        await be_available(desk)
        await run_due_timers(database)
        assert await list_waiting(desk) == [busy["number"]]

    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)

    assert await list_waiting(desk) == []
    assert (await desk.read(free))["assigneeId"] == str(desk.admin.id)


async def test_no_ticket_waits_after_the_pass_that_follows_concurrent_changes(desk: Desk, database: Database) -> None:
    opened = 0
    for delay in (0.0, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02):
        await be_available(desk, available=False)

        async def later(after: float) -> None:
            await asyncio.sleep(after)
            await be_available(desk)

        await asyncio.gather(desk.open(), desk.open(), later(delay), desk.open(), run_due_timers(database))
        opened += 3
        await run_due_timers(database)
        assert await list_waiting(desk) == []

    assert await count_by_assignee(desk) == {desk.admin.id: opened}
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_ticket_opened_while_a_user_signs_up_is_assigned(desk: Desk, database: Database) -> None:
    for place in range(5):
        await asyncio.gather(desk.open(), desk.another_admin(f"user{place}@growfin.test"), desk.open())
        await run_due_timers(database)
        assert await list_waiting(desk) == []

    assert len(await count_by_assignee(desk)) > 1


async def test_more_than_a_batch_of_waiting_tickets_is_shared_exactly(desk: Desk, database: Database) -> None:
    bo, cy = await desk.another_admin(available=False), await desk.another_admin("cy@growfin.test", available=False)
    await insert_many(desk, 2400)
    for user in (bo, cy):
        async with database.session(desk.id) as db:
            (await db.get_one(User, (desk.id, user.id))).available = True

    await be_available(desk)
    assert await list_waiting(desk) == list(range(1001, 2401))
    for _ in range(3):
        await run_due_timers(database)
        await pass_time(desk, timedelta(seconds=1))

    assert await list_waiting(desk) == []
    assert await count_by_assignee(desk) == {desk.admin.id: 800, bo.id: 800, cy.id: 800}
    await assert_events_are_numbered_without_gaps(desk)
    await skip_work(desk)


def an_opening(desk: Desk) -> Opening:
    return Opening(
        org_id=desk.id,
        id=UUID(int=1),
        title="It broke",
        description="All of it.",
        priority=TicketPriority.MEDIUM,
        requester=RequesterDetails(email="mia@customer.example"),
        now=real_now(),
        actor=SYSTEM,
    )
