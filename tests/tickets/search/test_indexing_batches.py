"""Indexing all tickets of an organisation in batches, newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app import wiring
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import relay, timers
from app.core.outbox.events import Event, Recorded
from app.core.outbox.models import Timer
from app.core.outbox.subscriptions import Subscribers
from app.tickets.events import TicketResponded, TicketUpdated
from app.tickets.models import Ticket
from app.tickets.search import jobs, service
from app.tickets.search.jobs import TICKETS_PER_BATCH
from app.tickets.search.rules import INDEX_TICKETS
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import insert_many, skip_earlier_work
from tests.tickets.search.searching import (
    list_tickets,
    read_search_rows,
    relay_events,
    relay_failures,
    search,
    set_titles,
)


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


async def start_indexing(desk: Desk, subject_id: UUID | None = None) -> None:
    """Set the timer that starts indexing."""
    async with desk.database.session(desk.id) as db:
        await timers.set_timers(db, desk.id, subject_id or desk.id, {INDEX_TICKETS: real_now()})


async def index_batch(desk: Desk) -> int:
    """Index one batch as the worker does; return the number of handled timers."""
    async with desk.database.session(desk.id) as db:
        due = await timers.find_next_due(db, desk.id, real_now(), kinds=[INDEX_TICKETS])
        return len(await jobs.resume_indexing(db, desk.id, due)) if due else 0


async def run_due(database: Database) -> None:
    await timers.run_due(database, {INDEX_TICKETS: wiring.TIMERS[INDEX_TICKETS]})


async def timer_subjects(desk: Desk) -> Sequence[UUID]:
    async with desk.database.session(desk.id) as db:
        conditions = (Timer.org_id == desk.id, Timer.kind == INDEX_TICKETS)
        return (await db.scalars(select(Timer.subject_id).where(*conditions))).all()


async def indexed_numbers(desk: Desk) -> list[int]:
    """Return the numbers of indexed tickets, newest first."""
    search_rows = await read_search_rows(desk)
    async with desk.database.session(desk.id) as db:
        tickets = await db.execute(select(Ticket.id, Ticket.number).where(Ticket.org_id == desk.id))
        return sorted((row.number for row in tickets if row.id in search_rows), reverse=True)


async def read_number(desk: Desk, ticket_id: UUID) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(Ticket.number).where(Ticket.org_id == desk.id, Ticket.id == ticket_id)) or 0


async def test_tickets_are_indexed_in_batches_newest_first(desk: Desk) -> None:
    await insert_many(desk, 2 * TICKETS_PER_BATCH + 50)
    await start_indexing(desk)
    assert await search(desk, "many") == []

    for left in (TICKETS_PER_BATCH + 50, 50):
        assert await index_batch(desk) == 1
        assert await indexed_numbers(desk) == list(range(2 * TICKETS_PER_BATCH + 50, left, -1))
        (subject,) = await timer_subjects(desk)
        assert await read_number(desk, subject) == left
    assert await index_batch(desk) == 1

    assert await indexed_numbers(desk) == list(range(2 * TICKETS_PER_BATCH + 50, 0, -1))
    assert await timer_subjects(desk) == []
    assert (await list_tickets(desk, q="many", include="total", limit=1)).json()["total"] == 2 * TICKETS_PER_BATCH + 50
    assert await index_batch(desk) == 0


@pytest.mark.parametrize(
    ("tickets", "batches"),
    [(0, 1), (1, 1), (TICKETS_PER_BATCH, 1), (TICKETS_PER_BATCH + 1, 2), (2 * TICKETS_PER_BATCH, 2)],
)
async def test_there_are_no_superfluous_batches(desk: Desk, tickets: int, batches: int) -> None:
    if tickets:
        await insert_many(desk, tickets)
    await start_indexing(desk)

    done = [await index_batch(desk) for _ in range(batches)]

    assert done == [1] * batches
    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (tickets, [])


async def test_the_worker_indexes_all_tickets(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    for one in (desk, other):
        await insert_many(one, TICKETS_PER_BATCH + 20)
    await start_indexing(desk)

    await run_due(database)

    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (TICKETS_PER_BATCH + 20, [])
    assert await read_search_rows(other) == {}
    assert await search(desk, "#1") == [1]


async def test_words_of_tickets_and_replies_are_indexed(desk: Desk, database: Database) -> None:
    tickets = [await desk.open(title=title) for title in ("Red", "Blue", "Green")]
    for message in ("Reboot it.", "And again."):
        await desk.respond(tickets[1], message)
    await start_indexing(desk)

    await run_due(database)

    assert await search(desk, "broke") == []
    assert await search(desk, "mia@customer.example") == [3, 2, 1]
    assert await search(desk, "blue reboot again") == [2]
    assert {key: (row.version, row.reply_lexemes) for key, row in (await read_search_rows(desk)).items()} == {
        UUID(tickets[0]["id"]): (1, 0),
        UUID(tickets[1]["id"]): (3, 4),
        UUID(tickets[2]["id"]): (1, 0),
    }


async def test_already_indexed_tickets_stay_the_same(desk: Desk, database: Database) -> None:
    ticket = await desk.open(title="Red")
    await desk.respond(ticket, "Reboot it.")
    await relay_events(desk)
    before = await read_search_rows(desk)
    await start_indexing(desk)

    await run_due(database)
    assert {key: row[1:] for key, row in (await read_search_rows(desk)).items()} == {
        key: row[1:] for key, row in before.items()
    }
    await relay_events(desk)

    assert await search(desk, "red reboot") == [1]
    assert await relay_failures(desk) == []


async def test_indexing_resumes_with_the_ticket_of_the_timer(desk: Desk) -> None:
    ids = await insert_many(desk, 30)
    (ticket_id_10,) = [one for one in ids if await read_number(desk, one) == 10]
    await start_indexing(desk, ticket_id_10)

    await index_batch(desk)

    assert await indexed_numbers(desk) == list(range(10, 0, -1))


async def test_two_timers_are_handled_one_after_the_other(desk: Desk, database: Database) -> None:
    ids = await insert_many(desk, 30)
    (ticket_id_10,) = [one for one in ids if await read_number(desk, one) == 10]
    await start_indexing(desk, ticket_id_10)
    await start_indexing(desk)

    assert await index_batch(desk) == 1
    assert await indexed_numbers(desk) == list(range(10, 0, -1))
    assert await timer_subjects(desk) == [desk.id]
    await run_due(database)

    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (30, [])


async def test_indexing_restarts_if_the_ticket_of_the_timer_is_deleted(desk: Desk) -> None:
    ids = await insert_many(desk, 30)
    await start_indexing(desk, ids[0])
    async with desk.database.session(desk.id) as db:
        await db.execute(text("DELETE FROM tickets WHERE org_id = :org AND id = :id"), {"org": desk.id, "id": ids[0]})

    await index_batch(desk)

    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (29, [])


async def test_tickets_opened_meanwhile_are_indexed_as_usual(desk: Desk, database: Database) -> None:
    await insert_many(desk, TICKETS_PER_BATCH + 10)
    await start_indexing(desk)
    await index_batch(desk)
    await desk.open(title="Quite new")

    await run_due(database)
    assert await search(desk, "new") == []
    await relay_events(desk)

    assert await search(desk, "new") == [TICKETS_PER_BATCH + 11]
    assert len(await read_search_rows(desk)) == TICKETS_PER_BATCH + 11


async def test_concurrent_workers_index_all_tickets(desk: Desk, database: Database) -> None:
    await insert_many(desk, 3 * TICKETS_PER_BATCH)
    await start_indexing(desk)

    await asyncio.gather(*(run_due(database) for _ in range(3)))

    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (3 * TICKETS_PER_BATCH, [])


async def test_a_batch_does_not_overwrite_a_concurrent_change(desk: Desk, database: Database) -> None:
    ticket = await desk.open(title="Before")
    await relay_events(desk)
    await start_indexing(desk)
    async with database.session(desk.id) as db:
        # Another worker's uncommitted change, so the batch reads the version before it.
        conditions = (Ticket.org_id == desk.id, Ticket.number == 1)
        await db.execute(update(Ticket).where(*conditions).values(title="After", version=Ticket.version + 1))
        await service.index(db, desk.id, [UUID(ticket["id"])])
        batch = asyncio.create_task(index_batch(desk))
        await asyncio.sleep(0.3)
        assert not batch.done()
    assert await batch == 1

    assert (await search(desk, "after"), await search(desk, "before")) == ([1], [])


async def test_indexing_and_the_relay_do_not_deadlock(desk: Desk, database: Database) -> None:
    """Without the lock on the relay's row, the batch could lock the first ticket, and the relay would wait for it.

    The relay holds the second ticket at that time, which the batch needs.
    """
    first, second = await desk.open(title="First"), await desk.open(title="Second")
    await relay_events(desk)
    await desk.admin.patch(f"/tickets/{second['id']}", {"title": "Last"})
    await desk.respond(first, "Reboot it.")
    await start_indexing(desk)
    is_relaying = asyncio.Event()

    async def pause(_db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Event]]) -> None:
        is_relaying.set()
        await asyncio.sleep(0.3)

    subscribers = Subscribers().on(TicketUpdated, jobs.index_tickets, pause).on(TicketResponded, jobs.index_replies)
    with capture_logs() as logs:
        relaying = asyncio.create_task(relay.catch_up(database, desk.id, subscribers))
        await is_relaying.wait()
        await asyncio.gather(relaying, run_due(database))

    assert [line["event"] for line in logs if line["log_level"] != "info"] == []
    assert (await search(desk, "first reboot"), await search(desk, "last"), await search(desk, "second")) == (
        [1],
        [2],
        [],
    )


async def test_indexing_runs_concurrently_with_requests_and_the_relay(desk: Desk, database: Database) -> None:
    """Index while tickets are opened, changed and replied to, and the relay runs."""
    await insert_many(desk, 2 * TICKETS_PER_BATCH + 10)
    tickets: list[JSON] = [await desk.open(title="Old one") for _ in range(10)]
    working = True

    async def relay_all() -> None:
        while working:
            await relay.catch_up(database, desk.id, wiring.SUBSCRIBERS)
            await asyncio.sleep(0)

    async def index_all() -> None:
        while working:
            await start_indexing(desk)
            await run_due(database)

    async def work() -> None:
        nonlocal working
        for place, ticket in enumerate(tickets * 3):
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"title{place:03}"})
            await desk.respond(ticket, f"reply{place:03}")
        working = False

    await asyncio.gather(relay_all(), index_all(), work())
    await relay_events(desk)
    await run_due(database)

    first = tickets[0]["number"]
    assert await search(desk, "old") == []
    for place in range(30):
        number = first + place % 10
        assert await search(desk, f"title{place:03}") == ([number] if place >= 20 else [])
        assert await search(desk, f"reply{place:03}") == [number]
    assert (len(await read_search_rows(desk)), await timer_subjects(desk)) == (2 * TICKETS_PER_BATCH + 20, [])
    assert await relay_failures(desk) == []


async def test_the_indexing_timer_is_not_part_of_a_tickets_schedule(desk: Desk) -> None:
    ids = await insert_many(desk, 2)
    await start_indexing(desk, ids[0])

    answer = await desk.admin.get(f"/tickets/{ids[0]}/schedule")

    assert (answer.status_code, answer.json()) == (200, {"items": []})
    moved = await desk.admin.post("/org/clock/advance", {"seconds": 3600})
    assert (moved.status_code, moved.json()["fired"]) == (200, []), moved.text
    await set_titles(desk, {1: "Still there"})
    assert await timer_subjects(desk) == [ids[0]]
