"""When a user may no longer be assigned tickets, their unfinished ones are unassigned and go to others in turn."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from app.core.database.pool import Database
from app.tickets import queries
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
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
from tests.tickets.users import add_customer, add_engineer, assign_all_to, change_row

STATUSES = ("OPEN", "IN_PROGRESS", "RESPONDED", "RESOLVED", "CLOSED")


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


@pytest.fixture
async def bo(desk: Desk) -> SignedInUser:
    """An engineer, who is assigned all new tickets."""
    return await add_engineer(desk)


async def suspend(desk: Desk, user: SignedInUser) -> None:
    await change_user(desk, user, {"status": "SUSPENDED"})


async def make_a_customer(desk: Desk, user: SignedInUser) -> None:
    await change_user(desk, user, {"role": "CUSTOMER"})


async def erase(desk: Desk, user: SignedInUser) -> None:
    answer = await desk.admin.delete(f"/users/{user.id}")
    assert answer.status_code == 204, answer.text


async def change_user(desk: Desk, user: SignedInUser, change: JSON) -> None:
    answer = await desk.admin.patch(f"/users/{user.id}", change)
    assert answer.status_code == 200, answer.text


every_removal = pytest.mark.parametrize("remove_from_work", [suspend, make_a_customer, erase])


@every_removal
async def test_unfinished_tickets_are_unassigned_by_the_worker(
    desk: Desk, database: Database, bo: SignedInUser, remove_from_work: Any
) -> None:
    await desk.admin.patch("/me", {"available": False})
    tickets = {status: await desk.open() for status in STATUSES}
    for status, ticket in tickets.items():
        await bo.post(f"/tickets/{ticket['id']}/accept")
        await bo.post(f"/tickets/{ticket['id']}/change_status", {"status": status})
    before = {status: await desk.read(ticket) for status, ticket in tickets.items()}

    await remove_from_work(desk, bo)
    assert (await desk.read(tickets["OPEN"]))["version"] == before["OPEN"]["version"]  # not in the request
    await run_due_timers(database)

    for status, ticket in tickets.items():
        read = await desk.read(ticket)
        if status in {"RESOLVED", "CLOSED"}:
            assert (read["assigneeId"], read["version"]) == (str(bo.id), before[status]["version"])
            continue
        assert (read["status"], read["assigneeId"], read["assignee"], read["acceptedAt"]) == (status, None, None, None)
        assert read["version"] == before[status]["version"] + 1
        assert read["autoCloseAt"] == before[status]["autoCloseAt"]
        last = (await desk.history(ticket))[-1]
        assert (last["type"], last["actor"]) == ("ticket.assigned", {"type": "SYSTEM"})
        assert last["data"] == {"assigneeId": None, "previousAssigneeId": str(bo.id)}
    await assert_events_are_numbered_without_gaps(desk)


@every_removal
async def test_unassigned_tickets_go_to_other_users_in_turn(
    desk: Desk, database: Database, bo: SignedInUser, remove_from_work: Any
) -> None:
    for _ in range(6):
        await desk.open()
    cy, di = await add_engineer(desk), await add_engineer(desk)

    await remove_from_work(desk, bo)
    await run_due_timers(database)

    assert await count_by_assignee(desk) == {cy.id: 3, di.id: 3}
    assert await list_waiting(desk) == []


@every_removal
async def test_unassigned_tickets_wait_without_available_users(
    desk: Desk, database: Database, bo: SignedInUser, remove_from_work: Any
) -> None:
    await desk.open()
    await desk.admin.patch("/me", {"available": False})

    await remove_from_work(desk, bo)
    await run_due_timers(database)
    assert await list_waiting(desk) == [1]
    await desk.admin.patch("/me", {"available": True})

    assert await count_by_assignee(desk) == {desk.admin.id: 1}


async def test_a_new_role_that_may_work_on_tickets_keeps_the_tickets(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    accepted = (await bo.post(f"/tickets/{(await desk.open())['id']}/accept")).json()

    await change_user(desk, bo, {"role": "ADMIN"})
    await run_due_timers(database)

    assert await desk.read(accepted) == accepted | {"comments": []}


async def test_other_users_keep_their_tickets(desk: Desk, api: Api, database: Database, bo: SignedInUser) -> None:
    cy = await add_engineer(desk)
    kept = await desk.open()
    if kept["assigneeId"] != str(cy.id):
        kept = (await desk.admin.patch(f"/tickets/{kept['id']}", {"assigneeId": str(cy.id)})).json()
    other = await create_desk(api, database)
    theirs = await other.open()

    await suspend(desk, bo)
    await run_due_timers(database)

    assert await desk.read(kept) == kept | {"comments": []}
    assert await other.read(theirs) == theirs | {"comments": []}


async def test_suspending_a_customer_unassigns_nothing(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk)
    ticket = (await mia.post("/tickets", {"title": "x", "description": "x"})).json()

    await suspend(desk, mia)
    await run_due_timers(database)

    assert await desk.read(ticket) == ticket | {"comments": []}


async def test_a_locked_ticket_is_unassigned_a_second_later(desk: Desk, database: Database, bo: SignedInUser) -> None:
    busy, free = await desk.open(), await desk.open()
    async with database.session(desk.id) as db:
        await queries.lock_ticket(db, desk.id, UUID(busy["id"]))
        await suspend(desk, bo)
        await run_due_timers(database)
        assert await count_by_assignee(desk) == {bo.id: 1, desk.admin.id: 1}
        assert (await desk.read(busy))["assigneeId"] == str(bo.id)

    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)

    assert await count_by_assignee(desk) == {desk.admin.id: 2}
    assert (await desk.read(free))["assigneeId"] == str(desk.admin.id)


async def test_a_ticket_assigned_in_the_meantime_is_unassigned_seconds_later(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    ticket = await desk.open()
    await suspend(desk, bo)
    await run_due_timers(database)
    await assign_all_to(desk, bo.id)  # like a request that began before the change

    await run_due_timers(database)
    assert (await desk.read(ticket))["assigneeId"] == str(bo.id)
    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)

    assert (await desk.read(ticket))["assigneeId"] == str(desk.admin.id)


async def test_a_reactivated_user_keeps_the_tickets_assigned_after_the_reactivation(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    await suspend(desk, bo)
    await change_user(desk, bo, {"status": "ACTIVE"})
    ticket = await desk.open()
    assert ticket["assigneeId"] == str(bo.id)

    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)

    assert await desk.read(ticket) == ticket | {"comments": []}
    assert await read_ticket_timers(desk, {"id": str(bo.id)}) == {}


async def test_more_than_a_thousand_tickets_are_unassigned_in_batches(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    await insert_many(desk, 1_300)
    await assign_all_to(desk, bo.id)

    await suspend(desk, bo)
    assert await count_by_assignee(desk) == {bo.id: 1_300}
    for _ in range(3):
        await run_due_timers(database)
        await pass_time(desk, timedelta(seconds=1))

    assert await count_by_assignee(desk) == {desk.admin.id: 1_300}
    await assert_events_are_numbered_without_gaps(desk)
    await skip_work(desk)


async def test_assigning_and_suspending_concurrently_leaves_no_tickets_with_the_user(
    desk: Desk, database: Database, bo: SignedInUser
) -> None:
    for _ in range(5):
        tickets = [await desk.open() for _ in range(3)]

        async def give(ticket: JSON) -> int:
            return (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(bo.id)})).status_code

        await give(tickets[0])
        statuses = await asyncio.gather(give(tickets[1]), suspend(desk, bo), give(tickets[2]), desk.open())
        await run_due_timers(database)
        await pass_time(desk, timedelta(seconds=10))
        await run_due_timers(database)

        assert {statuses[0], statuses[2]} <= {200, 422}
        assert bo.id not in await count_by_assignee(desk)
        await change_user(desk, bo, {"status": "ACTIVE"})
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_suspended_user_cannot_be_the_assignee(desk: Desk, bo: SignedInUser) -> None:
    await change_row(desk, bo, status="SUSPENDED")

    answer = await desk.admin.patch(f"/tickets/{(await desk.open())['id']}", {"assigneeId": str(bo.id)})

    assert_problem(answer, 422, "assignee_not_active")
