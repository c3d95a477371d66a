"""The worker indexes tickets when they are opened, changed or replied to; requests do not."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update

from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.models import Relay
from app.core.outbox.subscriptions import Subscribers
from app.tickets.events import TicketCreated, TicketResponded, TicketUpdated
from app.tickets.models import Ticket
from app.tickets.search import jobs, service
from app.tickets.search.rules import MAX_WORDS, lexemes
from tests.organisation_client import JSON, Desk
from tests.tickets.search.searching import (
    list_tickets,
    open_indexed,
    read_search_rows,
    relay_events,
    relay_failures,
    search,
)
from tests.tickets.test_customers import open_own
from tests.tickets.users import add_customer


def id_of(ticket: JSON) -> UUID:
    return UUID(ticket["id"])


async def change(desk: Desk, ticket: JSON, **fields: object) -> None:
    answer = await desk.admin.patch(f"/tickets/{ticket['id']}", fields)
    assert answer.status_code == 200, answer.text


async def add_replies(desk: Desk, ticket: JSON, *messages: str) -> None:
    async with desk.database.session(desk.id) as db:
        await service.add_replies(db, desk.id, {id_of(ticket): messages})


# --- indexing new events ---------------------------------------------------------------------------------------------


async def test_requests_do_not_write_the_index(desk: Desk) -> None:
    mia = await add_customer(desk)
    ticket = await desk.open()
    await open_own(mia)
    await change(desk, ticket, title="Another")
    await desk.respond(ticket)
    assert await read_search_rows(desk) == {}

    await relay_events(desk)

    assert len(await read_search_rows(desk)) == 2


async def test_the_worker_indexes_all_new_events_at_once(desk: Desk) -> None:
    tickets = [await desk.open(title=f"Matter {place}") for place in range(5)]
    for place in (0, 2, 2):
        await desk.respond(tickets[place], f"Reply {place}, {len(await desk.history(tickets[place]))}.")
    await change(desk, tickets[2], title="Settled", description="All is well.")
    await change(desk, tickets[3], title="Urgent")

    await relay_events(desk)

    assert await search(desk, "matter") == [5, 2, 1]
    assert await search(desk, "reply") == [3, 1]
    assert await search(desk, "settled reply well") == [3]
    assert await search(desk, "urgent") == [4]
    # Each ticket is indexed with its current texts.
    assert {key: row.version for key, row in (await read_search_rows(desk)).items()} == {
        id_of(ticket): (await desk.read(ticket))["version"] for ticket in tickets
    }
    assert await relay_failures(desk) == []


@pytest.mark.parametrize("fields", [{"priority": "LOW"}, {"status": "CLOSED"}, {"assigneeId": None}])
async def test_changes_of_other_fields_do_not_write_the_index(desk: Desk, fields: JSON) -> None:
    ticket = await open_indexed(desk)
    before = await read_search_rows(desk)
    await change(desk, ticket, **fields)

    await relay_events(desk)

    assert (await desk.read(ticket))["version"] == 2
    assert await read_search_rows(desk) == before == {id_of(ticket): (1, before[id_of(ticket)][1], 0)}
    await change(desk, ticket, title="Another", priority="CRITICAL")
    await relay_events(desk)
    assert (await read_search_rows(desk))[id_of(ticket)].version == 3


async def test_relaying_events_again_changes_nothing(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket, "Reboot it.")
    await change(desk, ticket, title="Another")
    await desk.respond(ticket, "Reboot it again.")
    await relay_events(desk)
    before = await index_content(desk)

    async with desk.database.session(desk.id) as db:
        await db.execute(update(Relay).where(Relay.org_id == desk.id).values(last_seq=0))
    subscribers = Subscribers().on(TicketCreated, jobs.index_tickets).on(TicketUpdated, jobs.index_tickets)
    subscribers.on(TicketResponded, jobs.index_replies)
    await relay.catch_up(desk.database, desk.id, subscribers)

    assert await index_content(desk) == before
    assert await relay_failures(desk) == []


async def index_content(desk: Desk) -> list[tuple[Any, ...]]:
    async with desk.database.session(desk.id) as db:
        kept = await db.execute(
            text("SELECT * FROM ticket_search WHERE org_id = :org ORDER BY ticket_id"), {"org": desk.id}
        )
        return [tuple(row) for row in kept]


async def test_events_of_a_deleted_ticket_are_skipped(desk: Desk) -> None:
    deleted, ticket = await desk.open(), await desk.open()
    async with desk.database.session(desk.id) as db:
        await db.execute(text("DELETE FROM tickets WHERE org_id = :org AND number = 1"), {"org": desk.id})

    await relay_events(desk)

    assert deleted["number"] == 1
    assert list(await read_search_rows(desk)) == [id_of(ticket)]
    assert await relay_failures(desk) == []


async def test_an_older_version_never_overwrites_a_newer_one(desk: Desk, database: Database) -> None:
    """Of two workers, one has read the ticket before a change, and writes after the other."""
    ticket = await open_indexed(desk, title="Before")
    slow = asyncio.Event()

    async def late() -> None:
        async with database.session(desk.id) as db:
            await slow.wait()
            await service.index(db, desk.id, [id_of(ticket)])  # reads the committed row, waits for the lock

    late_one = asyncio.create_task(late())
    async with database.session(desk.id) as db:
        conditions = (Ticket.org_id == desk.id, Ticket.id == id_of(ticket))
        await db.execute(update(Ticket).where(*conditions).values(title="After", version=Ticket.version + 1))
        await service.index(db, desk.id, [id_of(ticket)])
        slow.set()
        await asyncio.sleep(0.3)
        assert not late_one.done()
    await late_one

    assert (await search(desk, "after"), await search(desk, "before")) == ([1], [])
    assert (await read_search_rows(desk))[id_of(ticket)].version == 2


@pytest.mark.parametrize(("version", "title"), [(1, "Kept"), (2, "Kept"), (3, "Written"), (4, "Written")])
async def test_only_the_same_or_a_newer_version_is_written(desk: Desk, version: int, title: str) -> None:
    ticket = await desk.open()
    for name in ("Nearly", "Kept"):
        await change(desk, ticket, title=name)
    await relay_events(desk)
    assert (await read_search_rows(desk))[id_of(ticket)].version == 3

    async with desk.database.session(desk.id) as db:
        joined = " ".join(lexemes(desk.id, "Written"))
        values = {"org_id": desk.id, "ids": [id_of(ticket)], "versions": [version], "lexemes": [joined]}
        await db.execute(service._UPSERT_TICKET_LEXEMES, values)

    assert await search(desk, title) == [1]
    assert (await read_search_rows(desk))[id_of(ticket)].version == max(version, 3)


# --- replies ---------------------------------------------------------------------------------------------------------


async def test_replies_can_be_indexed_before_the_ticket(desk: Desk) -> None:
    ticket = await desk.open(title="Red")
    await add_replies(desk, ticket, "Reboot it.")
    assert await read_search_rows(desk) == {id_of(ticket): (0, 0, 2)}
    assert (await search(desk, "reboot"), await search(desk, "red")) == ([1], [])

    await relay_events(desk)

    assert await search(desk, "reboot red") == [1]
    assert (await read_search_rows(desk))[id_of(ticket)][::2] == (1, 2)


async def test_words_of_further_replies_are_added(desk: Desk) -> None:
    ticket = await open_indexed(desk)
    for messages in (["One two."], ["Two three!", "Four"], ["one"], ["!!!"]):
        await add_replies(desk, ticket, *messages)

    assert (await read_search_rows(desk))[id_of(ticket)].reply_lexemes == 4
    assert await search(desk, "one two three four") == [1]


async def test_the_number_of_words_of_replies_is_limited(desk: Desk) -> None:
    ticket = await open_indexed(desk)
    texts = [" ".join(f"w{place}x{n}" for n in range(MAX_WORDS // 3)) for place in range(3)]
    for message in (*texts, "late", f"{texts[0]} later", texts[2]):
        await add_replies(desk, ticket, message)

    assert (await read_search_rows(desk))[id_of(ticket)].reply_lexemes == MAX_WORDS
    for word in ("w0x0", "w1x999", f"w2x{MAX_WORDS // 3 - 1}"):
        assert await search(desk, word) == [1]
    for word in ("late", "later"):
        assert await search(desk, word) == []
    # The others are not affected, and neither are its own.
    assert await search(desk, "broke w1x0") == [1]
    await change(desk, ticket, title="Another")
    await relay_events(desk)
    assert await search(desk, "another w1x0") == [1]


HOSTILE = {
    "words": " ".join(f"{n:x}" for n in range(4_000, 9_000))[:20_000],
    "long words": " ".join(f"{'𐍈' * 28}{n:04}" for n in range(700))[:20_000],
    "one word": "𐍈" * 20_000,
    "words that get longer": "ﷺ" * 20_000,
    "quotes": "\\'" * 10_000,
    "nothing": "🔥 " * 10_000,
    "letters": " ".join(chr(0x4E00 + n) for n in range(10_000)),
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_texts_do_not_stop_the_worker(desk: Desk, kind: str) -> None:
    hostile = HOSTILE[kind]
    first = await desk.open(title=hostile[:255], description=hostile)
    for _ in range(16):
        await desk.respond(first, hostile)
    await desk.open(title="Harmless")

    await relay_events(desk)

    assert await relay_failures(desk) == []
    assert await search(desk, "harmless") == [2]
    assert await search(desk, "#1") == [1]
    assert all(counted <= MAX_WORDS for counted in (await read_search_rows(desk))[id_of(first)])


async def test_a_reply_beyond_the_limit_is_indexed_partially(desk: Desk) -> None:
    ticket = await open_indexed(desk)
    await add_replies(desk, ticket, " ".join(f"w{n}" for n in range(MAX_WORDS - 2)))

    for message in ("late more words", "late more words again", "w0 w1"):
        await add_replies(desk, ticket, message)
        assert (await read_search_rows(desk))[id_of(ticket)].reply_lexemes == MAX_WORDS

    assert [word for word in ("late", "more", "words", "again") if await search(desk, word)] == ["late", "more"]
    assert await search(desk, f"w0 w{MAX_WORDS - 3} late") == [1]


async def test_many_replies_are_indexed_up_to_the_limit(desk: Desk) -> None:
    ticket = await desk.open(description=HOSTILE["words"])
    for place in range(64):
        await desk.respond(ticket, " ".join(f"{n:x}" for n in range(10_000 + 4_000 * place, 13_300 + 4_000 * place)))

    await relay_events(desk)

    # The first two replies have more.
    row = (await read_search_rows(desk))[id_of(ticket)]
    assert (row.version, row.reply_lexemes) == (65, MAX_WORDS - 1)
    assert await search(desk, f"{10_000:x} {10_000 + MAX_WORDS - 2:x}") == [1]
    assert await relay_failures(desk) == []


# --- erasure ---------------------------------------------------------------------------------------------------------


async def test_an_erased_user_is_no_longer_found(desk: Desk) -> None:
    mia = await add_customer(desk, "mia.moreau@shop.example")
    await open_own(mia)
    await desk.open(requester={"email": mia.email})
    await relay_events(desk)
    for q in (mia.email, "moreau", "shop"):
        assert await search(desk, q) == [2, 1]

    assert (await desk.admin.delete(f"/users/{mia.id}")).status_code == 204

    for q in (mia.email, "moreau", "shop"):
        assert await search(desk, q) == []
    assert await search(desk, "broke") == [2, 1]
    for q in ("erased", "invalid", f"erased-{mia.id}@erased.invalid"):
        assert await search(desk, q) == []
    async with desk.database.session(desk.id) as db:
        kept = await db.scalars(
            text("SELECT lexemes::text || replies::text FROM ticket_search WHERE org_id = :org"), {"org": desk.id}
        )
        assert not [words for words in kept if "moreau" in words]


async def test_tickets_are_still_found_by_a_customers_previous_email(desk: Desk) -> None:
    mia = await add_customer(desk, "mia.moreau@shop.example")
    await open_own(mia)
    await relay_events(desk)

    assert (await list_tickets(desk, q="moreau")).json()["items"][0]["requester"]["email"] == mia.email
