"""Advancing the clock of a sandbox runs the timers that come due, in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app import wiring
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM
from app.organisations import service as organisations
from app.organisations.queries import get_tenant
from app.tickets.models import Ticket, TicketStatus
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_without_gaps,
    insert_many,
    insert_timers,
    parse_time,
    read_event_numbers,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
)


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


async def advance(desk: Desk, **by: int) -> JSON:
    response = await desk.admin.post("/org/clock/advance", by)
    assert response.status_code == 200, response.text
    advanced: JSON = response.json()
    return advanced


async def open_and_respond(desk: Desk, **fields: Any) -> JSON:
    """Open a ticket and reply to it."""
    ticket: JSON = (await desk.respond(await desk.open(**fields)))["ticket"]
    return ticket


async def test_reminding_and_closing_happen_at_their_due_times(desk: Desk) -> None:
    ticket = await open_and_respond(desk)

    advanced = await advance(desk, days=40)

    closes_at = parse_time(ticket["autoCloseAt"])
    closed = await desk.read(ticket)
    assert (closed["status"], closed["autoCloseAt"]) == ("CLOSED", None)
    assert (closed["closedAt"], closed["updatedAt"]) == (ticket["autoCloseAt"], ticket["autoCloseAt"])
    assert (closed["respondedAt"], closed["version"]) == (ticket["respondedAt"], ticket["version"] + 1)
    fired = [(one["kind"], one["ticketId"], parse_time(one["dueAt"])) for one in advanced["fired"]]
    assert fired == [
        ("AUTO_CLOSE_REMINDER", ticket["id"], closes_at - timedelta(days=3)),
        ("AUTO_CLOSE", ticket["id"], closes_at),
    ]
    assert set(advanced) == {"now", "fired"}
    assert parse_time(advanced["now"]) >= closes_at + timedelta(days=9)


async def test_the_history_has_the_reminder_before_the_close_both_by_the_system(desk: Desk) -> None:
    ticket = await open_and_respond(desk)
    await advance(desk, days=30)

    *_, reminder, close = await desk.history(ticket)

    assert (reminder["type"], close["type"]) == ("ticket.closing_soon", "ticket.status_changed")
    assert reminder["actor"] == close["actor"] == {"type": "SYSTEM"}
    assert reminder["data"] == {"autoCloseAt": ticket["autoCloseAt"]}
    assert close["data"] == {"from": "RESPONDED", "to": "CLOSED", "reason": "AUTO_CLOSE"}
    assert parse_time(reminder["createdAt"]) == parse_time(ticket["autoCloseAt"]) - timedelta(days=3)
    assert close["createdAt"] == ticket["autoCloseAt"]


async def test_nothing_happens_before_its_time_and_nothing_twice(desk: Desk) -> None:
    ticket = await open_and_respond(desk)

    early = await advance(desk, days=26, hours=23)
    reminded = await advance(desk, hours=2)
    again = await advance(desk, seconds=1)
    closed = await advance(desk, days=3)
    after = await advance(desk, days=400)

    kinds = [[one["kind"] for one in each["fired"]] for each in (early, reminded, again, closed, after)]
    assert kinds == [[], ["AUTO_CLOSE_REMINDER"], [], ["AUTO_CLOSE"], []]
    assert [event["type"] for event in await desk.history(ticket)].count("ticket.status_changed") == 2
    assert (await desk.read(ticket))["status"] == "CLOSED"


async def test_a_later_reply_closes_the_ticket_later(desk: Desk) -> None:
    first = await open_and_respond(desk)
    await advance(desk, days=1)
    second = await open_and_respond(desk)
    third = await open_and_respond(desk)
    await advance(desk, hours=1)
    await desk.respond(first)

    fired = (await advance(desk, days=60))["fired"]

    closes = [one["ticketId"] for one in fired if one["kind"] == "AUTO_CLOSE"]
    assert closes == [second["id"], third["id"], first["id"]]
    assert [one["dueAt"] for one in fired] == sorted(one["dueAt"] for one in fired)
    assert [one["kind"] for one in fired] == ["AUTO_CLOSE_REMINDER"] * 3 + ["AUTO_CLOSE"] * 3
    await assert_events_are_numbered_without_gaps(desk)


async def test_reminders_and_closes_of_many_tickets_keep_their_order_in_the_history(desk: Desk) -> None:
    first = await open_and_respond(desk)
    await advance(desk, days=28)
    second = await open_and_respond(desk)

    fired = (await advance(desk, days=40))["fired"]

    assert [(one["kind"], one["ticketId"]) for one in fired] == [
        ("AUTO_CLOSE", first["id"]),
        ("AUTO_CLOSE_REMINDER", second["id"]),
        ("AUTO_CLOSE", second["id"]),
    ]


async def test_the_reminder_is_queued_before_the_response_to_the_advance(desk: Desk) -> None:
    ticket = await open_and_respond(desk)
    await advance(desk, days=27, seconds=1)

    mails = (await desk.admin.get("/notifications", params={"ticketId": ticket["id"]})).json()["items"]

    reminder = (await desk.admin.get(f"/notifications/{mails[0]['id']}")).json()
    assert "have not heard from you since" in reminder["body"]
    assert (mails[0]["to"], mails[0]["status"]) == (ticket["requester"]["email"], "QUEUED")


async def test_tickets_of_other_organisations_stay_as_they_are(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    theirs = await open_and_respond(other)
    due = await read_ticket_timers(other, theirs)
    await open_and_respond(desk)

    fired = (await advance(desk, days=400))["fired"]

    assert theirs["id"] not in {one["ticketId"] for one in fired}
    assert await read_ticket_timers(other, theirs) == due
    assert (await other.read(theirs))["status"] == "RESPONDED"


async def test_three_hundred_tickets_close_in_one_advance(desk: Desk) -> None:
    closes_at = real_now() + timedelta(days=2)
    ids = await insert_many(desk, 300, responded_at=closes_at - timedelta(days=30))
    await insert_timers(desk, ids, "AUTO_CLOSE", closes_at)

    fired = (await advance(desk, days=3))["fired"]

    assert {UUID(one["ticketId"]) for one in fired} == set(ids)
    assert len(fired) == 300
    async with desk.database.session(desk.id) as db:
        conditions = (Ticket.org_id == desk.id, Ticket.status == TicketStatus.CLOSED, Ticket.closed_at == closes_at)
        assert await db.scalar(select(func.count()).where(*conditions)) == 300
    await assert_events_are_numbered_without_gaps(desk)


async def test_more_tickets_than_a_batch_close_in_one_advance(desk: Desk) -> None:
    closes_at = real_now() + timedelta(days=2)
    ids = await insert_many(desk, 1100, responded_at=closes_at - timedelta(days=30))
    await insert_timers(desk, ids, "AUTO_CLOSE", closes_at)

    fired = (await advance(desk, days=3))["fired"]

    assert {UUID(one["ticketId"]) for one in fired} == set(ids)
    assert len(fired) == 1100


async def test_a_reply_waits_while_the_clock_is_moved(desk: Desk, database: Database) -> None:
    ticket = await desk.open()
    async with database.session(desk.id) as db:
        tenant = await get_tenant(db, desk.id)
        await organisations.advance_clock(db, tenant, SYSTEM, timedelta(days=10), wiring.TICKET_TIMERS)
        responding = asyncio.create_task(desk.respond(ticket))
        await asyncio.sleep(0.2)
    response = await responding

    responded_ticket, due = response["ticket"], await read_ticket_timers(desk, ticket)
    async with database.session(desk.id) as db:
        advanced_tenant = await get_tenant(db, desk.id)
    assert advanced_tenant.organisation_time(due["AUTO_CLOSE"]) == parse_time(responded_ticket["autoCloseAt"])
    assert parse_time(responded_ticket["respondedAt"]) > real_now() + timedelta(days=9)


async def test_concurrent_replies_and_advances_lose_nothing(desk: Desk, database: Database) -> None:
    tickets = [await open_and_respond(desk) for _ in range(4)]
    replies = [desk.admin.post(f"/tickets/{t['id']}/respond", {"message": "Again."}) for t in tickets * 2]
    advances = [desk.admin.post("/org/clock/advance", {"days": 12}) for _ in range(4)]

    done = await asyncio.gather(*replies, *advances)

    assert {response.status_code for response in done} <= {200, 201, 409}
    assert {response.status_code for response in done[len(replies) :]} == {200}
    await run_due_timers(database)
    async with database.session(desk.id) as db:
        tenant = await get_tenant(db, desk.id)
    assert tenant.clock_offset == timedelta(days=48)
    for ticket in tickets:
        read, due = await desk.read(ticket), await read_ticket_timers(desk, ticket)
        if read["status"] == "RESPONDED":
            assert tenant.organisation_time(due["AUTO_CLOSE"]) == parse_time(read["autoCloseAt"])
            assert parse_time(read["autoCloseAt"]) > tenant.now()
        else:
            assert (read["status"], due) == ("CLOSED", {})
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_refused_advance_changes_nothing(api: Api, database: Database) -> None:
    production_desk = await create_desk(api, database, sandbox=False)
    ticket = await open_and_respond(production_desk)
    events, due = await read_event_numbers(production_desk), await read_ticket_timers(production_desk, ticket)

    response = await production_desk.admin.post("/org/clock/advance", {"days": 30})

    assert (response.status_code, response.json()["code"]) == (403, "not_a_sandbox")
    assert await read_event_numbers(production_desk) == events
    assert await read_ticket_timers(production_desk, ticket) == due
