"""The worker closes tickets and reminds requesters by the real clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.tickets import queries
from app.tickets.models import Ticket
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    event_types,
    insert_many,
    insert_timers,
    parse_time,
    pass_time,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
)


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


MONTH = timedelta(days=31)


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation that is not a sandbox."""
    return await create_desk(api, database, sandbox=False)


async def open_and_respond(desk: Desk) -> JSON:
    ticket: JSON = (await desk.respond(await desk.open()))["ticket"]
    return ticket


async def count_by_status(desk: Desk) -> dict[str, int]:
    async with desk.database.session(desk.id) as db:
        counted = select(Ticket.status, func.count()).where(Ticket.org_id == desk.id).group_by(Ticket.status)
        return dict((await db.execute(counted)).all())


async def test_a_ticket_closes_when_its_time_has_come(desk: Desk, database: Database) -> None:
    due, not_yet = await open_and_respond(desk), await open_and_respond(desk)
    await pass_time(desk, timedelta(days=30), due)
    await pass_time(desk, timedelta(days=29), not_yet)

    before = real_now()
    await run_due_timers(database)

    closed, open_still = await desk.read(due), await desk.read(not_yet)
    assert (closed["status"], closed["version"], closed["autoCloseAt"]) == ("CLOSED", due["version"] + 1, None)
    assert before <= parse_time(closed["closedAt"]) <= real_now()
    assert closed["updatedAt"] == closed["closedAt"]
    assert (open_still["status"], open_still["closedAt"]) == ("RESPONDED", None)
    assert (await event_types(desk, due))[-2:] == ["ticket.closing_soon", "ticket.status_changed"]
    close = (await desk.history(due))[-1]
    assert close["actor"] == {"type": "SYSTEM"}
    assert close["data"] == {"from": "RESPONDED", "to": "CLOSED", "reason": "AUTO_CLOSE"}
    assert await read_ticket_timers(desk, due) == {}
    assert set(await read_ticket_timers(desk, not_yet)) == {"AUTO_CLOSE"}


async def test_the_requester_is_reminded_once_three_days_before(desk: Desk, database: Database) -> None:
    ticket = await open_and_respond(desk)
    await pass_time(desk, timedelta(days=27), ticket)

    await run_due_timers(database)
    await run_due_timers(database)

    assert (await event_types(desk, ticket)).count("ticket.closing_soon") == 1
    last = (await desk.history(ticket))[-1]
    assert (last["actor"], last["data"]) == ({"type": "SYSTEM"}, {"autoCloseAt": ticket["autoCloseAt"]})
    read = await desk.read(ticket)
    assert (read["status"], read["version"]) == ("RESPONDED", ticket["version"])


async def test_a_ticket_no_longer_in_status_responded_is_not_closed(desk: Desk, database: Database) -> None:
    ticket = await open_and_respond(desk)
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "IN_PROGRESS"})
    await pass_time(desk, MONTH)

    await run_due_timers(database)

    assert (await desk.read(ticket))["status"] == "IN_PROGRESS"
    assert (await event_types(desk, ticket))[-1] == "ticket.status_changed"


async def test_timers_of_a_ticket_without_a_reply_do_nothing(desk: Desk, database: Database) -> None:
    ticket = await desk.open()
    for kind in ("AUTO_CLOSE", "AUTO_CLOSE_REMINDER"):
        await insert_timers(desk, [UUID(ticket["id"])], kind, real_now() - timedelta(days=1))

    await run_due_timers(database)

    assert await desk.read(ticket) == ticket | {"comments": []}
    assert await event_types(desk, ticket) == ["ticket.created", "ticket.assigned"]
    assert await read_ticket_timers(desk, ticket) == {}


async def test_a_locked_ticket_is_left_for_the_next_run_while_others_close(desk: Desk, database: Database) -> None:
    tickets = [await open_and_respond(desk) for _ in range(4)]
    busy = tickets[1]
    await pass_time(desk, MONTH)

    async with database.session(desk.id) as db:
        await queries.lock_ticket(db, desk.id, UUID(busy["id"]))
        async with asyncio.timeout(4):  # less than the lock timeout
            await run_due_timers(database)
        assert await count_by_status(desk) == {"CLOSED": 3, "RESPONDED": 1}
        assert set(await read_ticket_timers(desk, busy)) == {"AUTO_CLOSE", "AUTO_CLOSE_REMINDER"}
    await run_due_timers(database)

    assert await count_by_status(desk) == {"CLOSED": 4}
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_concurrent_reply_either_prevents_closing_or_is_refused(desk: Desk, database: Database) -> None:
    for _ in range(8):
        ticket = await open_and_respond(desk)
        await pass_time(desk, MONTH, ticket)

        response, _, _ = await asyncio.gather(
            desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": "Now it really is."}),
            run_due_timers(database),
            run_due_timers(database),
        )

        read, due = await desk.read(ticket), await read_ticket_timers(desk, ticket)
        assert response.status_code in {201, 409}
        assert read["status"] == ("RESPONDED" if response.status_code == 201 else "CLOSED")
        assert ("AUTO_CLOSE" in due) == (response.status_code == 201)
    await assert_events_are_numbered_without_gaps(desk)


async def test_more_than_one_batch_closes_in_one_run_and_each_ticket_has_an_event(
    desk: Desk, database: Database
) -> None:
    due_at = real_now() - timedelta(hours=1)
    ids = await insert_many(desk, 1500, responded_at=due_at - timedelta(days=30))
    await insert_timers(desk, ids, "AUTO_CLOSE", due_at)

    await run_due_timers(database)

    assert await count_by_status(desk) == {"CLOSED": 1500}
    async with desk.database.session(desk.id) as db:
        conditions = (EventRow.org_id == desk.id, EventRow.type == "ticket.status_changed")
        closes = (await db.execute(select(EventRow.subject_id, EventRow.id).where(*conditions))).all()
    assert {row.subject_id for row in closes} == set(ids)
    assert len({row.id for row in closes}) == len(closes) == 1500
    await assert_events_are_numbered_without_gaps(desk)


async def test_several_workers_close_each_ticket_once(desk: Desk, database: Database) -> None:
    await desk.admin.patch("/org", {"autoCloseDays": 3})
    tickets = [await open_and_respond(desk) for _ in range(6)]
    await pass_time(desk, MONTH)

    await asyncio.gather(*(run_due_timers(database) for _ in range(4)))

    assert await count_by_status(desk) == {"CLOSED": 6}
    for ticket in tickets:
        assert (await event_types(desk, ticket)).count("ticket.status_changed") == 2
        assert (await desk.read(ticket))["version"] == ticket["version"] + 1
    await assert_events_are_numbered_without_gaps(desk)


async def test_each_organisation_closes_its_own_tickets(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database, sandbox=False)
    ours, theirs = await open_and_respond(desk), await open_and_respond(other)
    await pass_time(desk, MONTH)

    await run_due_timers(database)

    assert (await desk.read(ours))["status"] == "CLOSED"
    assert (await other.read(theirs))["status"] == "RESPONDED"
    await assert_events_are_numbered_without_gaps(other)


async def test_a_sandbox_closes_tickets_by_its_own_clock(api: Api, database: Database) -> None:
    sandbox = await create_desk(api, database)
    await sandbox.admin.post("/org/clock/advance", {"days": 100})
    ticket = await open_and_respond(sandbox)
    await pass_time(sandbox, MONTH)

    await run_due_timers(database)

    closed = await sandbox.read(ticket)
    assert closed["status"] == "CLOSED"
    assert timedelta(days=99) < parse_time(closed["closedAt"]) - real_now() < timedelta(days=101)
