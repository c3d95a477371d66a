"""All tickets of an organisation become findable, those that were there before: in batches, the newest first."""

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
from app.tickets.search.jobs import BATCH
from app.tickets.search.rules import INDEX_TICKETS
from tests.desks import JSON, Api, Desk, a_desk
from tests.tickets.rows import forget_what_is_left, insert_many
from tests.tickets.search.finding import ask, entitle, failures, found, relayed, rows


@pytest.fixture(scope="module", autouse=True)
async def _nothing_left(database: Database) -> None:
    await forget_what_is_left(database)


async def begin(desk: Desk, subject_id: UUID | None = None) -> None:
    """Let it be time to go through the tickets."""
    async with desk.database.session(desk.id) as db:
        await timers.set_timers(db, desk.id, subject_id or desk.id, {INDEX_TICKETS: real_now()})


async def go_on(desk: Desk) -> int:
    """One batch of the worker; returns how many timers there were for it."""
    async with desk.database.session(desk.id) as db:
        due = await timers.next_due(db, desk.id, real_now(), kinds=[INDEX_TICKETS])
        return len(await jobs.index_the_rest(db, desk.id, due)) if due else 0


async def run_due(database: Database) -> None:
    await timers.run_due(database, {INDEX_TICKETS: wiring.TIMERS[INDEX_TICKETS]})


async def subjects(desk: Desk) -> Sequence[UUID]:
    async with desk.database.session(desk.id) as db:
        which = (Timer.org_id == desk.id, Timer.kind == INDEX_TICKETS)
        return (await db.scalars(select(Timer.subject_id).where(*which))).all()


async def numbers_kept(desk: Desk) -> list[int]:
    """Which tickets are found by something, the newest first."""
    kept = await rows(desk)
    async with desk.database.session(desk.id) as db:
        tickets = await db.execute(select(Ticket.id, Ticket.number).where(Ticket.org_id == desk.id))
        return sorted((row.number for row in tickets if row.id in kept), reverse=True)


async def a_number(desk: Desk, ticket_id: UUID) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(Ticket.number).where(Ticket.org_id == desk.id, Ticket.id == ticket_id)) or 0


async def test_they_are_gone_through_in_batches_the_newest_first(desk: Desk) -> None:
    await insert_many(desk, 2 * BATCH + 50)
    await begin(desk)
    assert await found(desk, "many") == []

    for left in (BATCH + 50, 50):
        assert await go_on(desk) == 1
        assert await numbers_kept(desk) == list(range(2 * BATCH + 50, left, -1))
        (subject,) = await subjects(desk)
        assert await a_number(desk, subject) == left
    assert await go_on(desk) == 1

    assert await numbers_kept(desk) == list(range(2 * BATCH + 50, 0, -1))
    assert await subjects(desk) == []
    assert (await ask(desk, q="many", include="total", limit=1)).json()["total"] == 2 * BATCH + 50
    assert await go_on(desk) == 0


@pytest.mark.parametrize(("tickets", "batches"), [(0, 1), (1, 1), (BATCH, 1), (BATCH + 1, 2), (2 * BATCH, 2)])
async def test_there_are_no_more_batches_than_needed(desk: Desk, tickets: int, batches: int) -> None:
    if tickets:
        await insert_many(desk, tickets)
    await begin(desk)

    done = [await go_on(desk) for _ in range(batches)]

    assert done == [1] * batches
    assert (len(await rows(desk)), await subjects(desk)) == (tickets, [])


async def test_the_worker_goes_through_all_by_itself(desk: Desk, api: Api, database: Database) -> None:
    other = await a_desk(api, database)
    for one in (desk, other):
        await insert_many(one, BATCH + 20)
    await begin(desk)

    await run_due(database)

    assert (len(await rows(desk)), await subjects(desk)) == (BATCH + 20, [])
    assert await rows(other) == {}
    assert await found(desk, "#1") == [1]


async def test_own_words_and_those_of_answers_are_kept(desk: Desk, database: Database) -> None:
    tickets = [await desk.open(title=title) for title in ("Red", "Blue", "Green")]
    for message in ("Reboot it.", "And again."):
        await desk.respond(tickets[1], message)
    await begin(desk)

    await run_due(database)

    assert await found(desk, "broke") == []
    assert await found(desk, "mia@customer.example") == [3, 2, 1]
    assert await found(desk, "blue reboot again") == [2]
    assert {key: (kept[0], kept[2]) for key, kept in (await rows(desk)).items()} == {
        UUID(tickets[0]["id"]): (1, 0),
        UUID(tickets[1]["id"]): (3, 4),
        UUID(tickets[2]["id"]): (1, 0),
    }


async def test_what_the_worker_has_seen_already_stays_as_it_is(desk: Desk, database: Database) -> None:
    ticket = await desk.open(title="Red")
    await desk.respond(ticket, "Reboot it.")
    await relayed(desk)
    before = await rows(desk)
    await begin(desk)

    await run_due(database)
    assert {key: kept[1:] for key, kept in (await rows(desk)).items()} == {
        key: kept[1:] for key, kept in before.items()
    }
    await relayed(desk)

    assert await found(desk, "red reboot") == [1]
    assert await failures(desk) == []


async def test_it_goes_on_with_the_ticket_that_it_has_come_to(desk: Desk) -> None:
    ids = await insert_many(desk, 30)
    (ten,) = [one for one in ids if await a_number(desk, one) == 10]
    await begin(desk, ten)

    await go_on(desk)

    assert await numbers_kept(desk) == list(range(10, 0, -1))


async def test_of_two_timers_each_has_its_turn(desk: Desk, database: Database) -> None:
    ids = await insert_many(desk, 30)
    (ten,) = [one for one in ids if await a_number(desk, one) == 10]
    await begin(desk, ten)
    await begin(desk)

    assert await go_on(desk) == 1
    assert await numbers_kept(desk) == list(range(10, 0, -1))
    assert await subjects(desk) == [desk.id]
    await run_due(database)

    assert (len(await rows(desk)), await subjects(desk)) == (30, [])


async def test_where_that_ticket_is_gone_it_begins_again(desk: Desk) -> None:
    ids = await insert_many(desk, 30)
    await begin(desk, ids[0])
    async with desk.database.session(desk.id) as db:
        await db.execute(text("DELETE FROM tickets WHERE org_id = :org AND id = :id"), {"org": desk.id, "id": ids[0]})

    await go_on(desk)

    assert (len(await rows(desk)), await subjects(desk)) == (29, [])


async def test_tickets_that_are_opened_in_between_are_found_as_always(desk: Desk, database: Database) -> None:
    await insert_many(desk, BATCH + 10)
    await begin(desk)
    await go_on(desk)
    await desk.open(title="Quite new")

    await run_due(database)
    assert await found(desk, "new") == []
    await relayed(desk)

    assert await found(desk, "new") == [BATCH + 11]
    assert len(await rows(desk)) == BATCH + 11


async def test_two_workers_at_once_go_through_all(desk: Desk, database: Database) -> None:
    await insert_many(desk, 3 * BATCH)
    await begin(desk)

    await asyncio.gather(*(run_due(database) for _ in range(3)))

    assert (len(await rows(desk)), await subjects(desk)) == (3 * BATCH, [])


async def test_words_that_were_read_before_a_change_do_not_undo_it(desk: Desk, database: Database) -> None:
    ticket = await desk.open(title="Before")
    await relayed(desk)
    await begin(desk)
    async with database.session(desk.id) as db:
        # What another worker has done, and not yet committed; so the batch reads what was before it.
        which = (Ticket.org_id == desk.id, Ticket.number == 1)
        await db.execute(update(Ticket).where(*which).values(title="After", version=Ticket.version + 1))
        await service.index(db, desk.id, [UUID(ticket["id"])])
        batch = asyncio.create_task(go_on(desk))
        await asyncio.sleep(0.3)
        assert not batch.done()
    assert await batch == 1

    assert (await found(desk, "after"), await found(desk, "before")) == ([1], [])


async def test_it_and_the_relay_never_wait_for_each_other(desk: Desk, database: Database) -> None:
    """The relay has the second ticket, and then wants the first one, whose words the other would have by then."""
    first, second = await desk.open(title="First"), await desk.open(title="Second")
    await relayed(desk)
    await desk.admin.patch(f"/tickets/{second['id']}", {"title": "Last"})
    await desk.respond(first, "Reboot it.")
    await begin(desk)
    going = asyncio.Event()

    async def pause(_db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Event]]) -> None:
        going.set()
        await asyncio.sleep(0.3)

    subscribers = Subscribers().on(TicketUpdated, jobs.index_tickets, pause).on(TicketResponded, jobs.index_answers)
    with capture_logs() as logs:
        relaying = asyncio.create_task(relay.catch_up(database, desk.id, subscribers))
        await going.wait()
        await asyncio.gather(relaying, run_due(database))

    assert [line["event"] for line in logs if line["log_level"] != "info"] == []
    assert (await found(desk, "first reboot"), await found(desk, "last"), await found(desk, "second")) == ([1], [2], [])


async def test_it_goes_on_beside_everything_else(desk: Desk, database: Database) -> None:
    """While tickets are opened, changed and answered, and the worker sees it."""
    await insert_many(desk, 2 * BATCH + 10)
    tickets: list[JSON] = [await desk.open(title="Old one") for _ in range(10)]
    working = True

    async def relay_all() -> None:
        while working:
            await relay.catch_up(database, desk.id, wiring.SUBSCRIBERS)
            await asyncio.sleep(0)

    async def go_through() -> None:
        while working:
            await begin(desk)
            await run_due(database)

    async def work() -> None:
        nonlocal working
        for place, ticket in enumerate(tickets * 3):
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"title{place:03}"})
            await desk.respond(ticket, f"answer{place:03}")
        working = False

    await asyncio.gather(relay_all(), go_through(), work())
    await relayed(desk)
    await run_due(database)

    first = tickets[0]["number"]
    assert await found(desk, "old") == []
    for place in range(30):
        number = first + place % 10
        assert await found(desk, f"title{place:03}") == ([number] if place >= 20 else [])
        assert await found(desk, f"answer{place:03}") == [number]
    assert (len(await rows(desk)), await subjects(desk)) == (2 * BATCH + 20, [])
    assert await failures(desk) == []


async def test_what_is_to_be_indexed_is_no_part_of_what_time_does_to_a_ticket(desk: Desk) -> None:
    ids = await insert_many(desk, 2)
    await begin(desk, ids[0])

    answer = await desk.admin.get(f"/tickets/{ids[0]}/schedule")

    assert (answer.status_code, answer.json()) == (200, {"items": []})
    moved = await desk.admin.post("/org/clock/advance", {"seconds": 3600})
    assert (moved.status_code, moved.json()["fired"]) == (200, []), moved.text
    await entitle(desk, {1: "Still there"})
    assert await subjects(desk) == [ids[0]]
