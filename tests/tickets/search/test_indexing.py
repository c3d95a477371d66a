"""The words of a ticket are kept by the worker when it is opened, changed or answered, not by whoever does that."""

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
from tests.desks import JSON, Desk
from tests.tickets.search.finding import ask, failures, found, opened, relayed, rows
from tests.tickets.test_customers import open_own
from tests.tickets.users import a_customer


def an_id(ticket: JSON) -> UUID:
    return UUID(ticket["id"])


async def change(desk: Desk, ticket: JSON, **fields: object) -> None:
    answer = await desk.admin.patch(f"/tickets/{ticket['id']}", fields)
    assert answer.status_code == 200, answer.text


async def add_answers(desk: Desk, ticket: JSON, *messages: str) -> None:
    async with desk.database.session(desk.id) as db:
        await service.add_answers(db, desk.id, {an_id(ticket): messages})


# --- as things happen ------------------------------------------------------------------------------------------------


async def test_a_request_writes_no_words(desk: Desk) -> None:
    mia = await a_customer(desk)
    ticket = await desk.open()
    await open_own(mia)
    await change(desk, ticket, title="Another")
    await desk.respond(ticket)
    assert await rows(desk) == {}

    await relayed(desk)

    assert len(await rows(desk)) == 2


async def test_the_worker_keeps_the_words_of_what_happened_meanwhile_all_at_once(desk: Desk) -> None:
    tickets = [await desk.open(title=f"Matter {place}") for place in range(5)]
    for place in (0, 2, 2):
        await desk.respond(tickets[place], f"Answer {place}, {len(await desk.history(tickets[place]))}.")
    await change(desk, tickets[2], title="Settled", description="All is well.")
    await change(desk, tickets[3], title="Urgent")

    await relayed(desk)

    assert await found(desk, "matter") == [5, 2, 1]
    assert await found(desk, "answer") == [3, 1]
    assert await found(desk, "settled answer well") == [3]
    assert await found(desk, "urgent") == [4]
    # Each is as it is now.
    assert {key: kept[0] for key, kept in (await rows(desk)).items()} == {
        an_id(ticket): (await desk.read(ticket))["version"] for ticket in tickets
    }
    assert await failures(desk) == []


@pytest.mark.parametrize("fields", [{"priority": "LOW"}, {"status": "CLOSED"}, {"adminId": None}])
async def test_what_changes_no_words_keeps_them_as_they_are(desk: Desk, fields: JSON) -> None:
    ticket = await opened(desk)
    before = await rows(desk)
    await change(desk, ticket, **fields)

    await relayed(desk)

    assert (await desk.read(ticket))["version"] == 2
    assert await rows(desk) == before == {an_id(ticket): (1, before[an_id(ticket)][1], 0)}
    await change(desk, ticket, title="Another", priority="CRITICAL")
    await relayed(desk)
    assert (await rows(desk))[an_id(ticket)][0] == 3


async def test_to_see_the_same_events_again_changes_nothing(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket, "Reboot it.")
    await change(desk, ticket, title="Another")
    await desk.respond(ticket, "Reboot it again.")
    await relayed(desk)
    before = await words_of(desk)

    async with desk.database.session(desk.id) as db:
        await db.execute(update(Relay).where(Relay.org_id == desk.id).values(last_seq=0))
    subscribers = Subscribers().on(TicketCreated, jobs.index_tickets).on(TicketUpdated, jobs.index_tickets)
    subscribers.on(TicketResponded, jobs.index_answers)
    await relay.catch_up(desk.database, desk.id, subscribers)

    assert await words_of(desk) == before
    assert await failures(desk) == []


async def words_of(desk: Desk) -> list[tuple[Any, ...]]:
    async with desk.database.session(desk.id) as db:
        kept = await db.execute(
            text("SELECT * FROM ticket_search WHERE org_id = :org ORDER BY ticket_id"), {"org": desk.id}
        )
        return [tuple(row) for row in kept]


async def test_events_of_a_ticket_that_is_gone_are_passed_over(desk: Desk) -> None:
    gone, ticket = await desk.open(), await desk.open()
    async with desk.database.session(desk.id) as db:
        await db.execute(text("DELETE FROM tickets WHERE org_id = :org AND number = 1"), {"org": desk.id})

    await relayed(desk)

    assert gone["number"] == 1
    assert list(await rows(desk)) == [an_id(ticket)]
    assert await failures(desk) == []


async def test_words_of_an_earlier_moment_never_replace_those_of_a_later_one(desk: Desk, database: Database) -> None:
    """Two workers: one has read the ticket before it was changed, and writes when the other has."""
    ticket = await opened(desk, title="Before")
    slow = asyncio.Event()

    async def late() -> None:
        async with database.session(desk.id) as db:
            await slow.wait()
            await service.index(db, desk.id, [an_id(ticket)])  # reads what is committed, and waits for the row

    late_one = asyncio.create_task(late())
    async with database.session(desk.id) as db:
        which = (Ticket.org_id == desk.id, Ticket.id == an_id(ticket))
        await db.execute(update(Ticket).where(*which).values(title="After", version=Ticket.version + 1))
        await service.index(db, desk.id, [an_id(ticket)])
        slow.set()
        await asyncio.sleep(0.3)
        assert not late_one.done()
    await late_one

    assert (await found(desk, "after"), await found(desk, "before")) == ([1], [])
    assert (await rows(desk))[an_id(ticket)][0] == 2


@pytest.mark.parametrize(("version", "title"), [(1, "Kept"), (2, "Kept"), (3, "Written"), (4, "Written")])
async def test_only_words_of_the_same_or_a_later_version_are_written(desk: Desk, version: int, title: str) -> None:
    ticket = await desk.open()
    for name in ("Nearly", "Kept"):
        await change(desk, ticket, title=name)
    await relayed(desk)
    assert (await rows(desk))[an_id(ticket)][0] == 3

    async with desk.database.session(desk.id) as db:
        words = " ".join(lexemes(desk.id, "Written", number=1))
        values = {"org_id": desk.id, "ids": [an_id(ticket)], "versions": [version], "words": [words]}
        await db.execute(service._KEEP_OWN, values)

    assert await found(desk, title) == [1]
    assert (await rows(desk))[an_id(ticket)][0] == max(version, 3)


# --- answers ---------------------------------------------------------------------------------------------------------


async def test_answers_may_be_kept_before_the_tickets_own_words(desk: Desk) -> None:
    ticket = await desk.open(title="Red")
    await add_answers(desk, ticket, "Reboot it.")
    assert await rows(desk) == {an_id(ticket): (0, 0, 2)}
    assert (await found(desk, "reboot"), await found(desk, "red")) == ([1], [])

    await relayed(desk)

    assert await found(desk, "reboot red") == [1]
    assert (await rows(desk))[an_id(ticket)][::2] == (1, 2)


async def test_words_of_more_answers_come_to_those_before(desk: Desk) -> None:
    ticket = await opened(desk)
    for messages in (["One two."], ["Two three!", "Four"], ["one"], ["!!!"]):
        await add_answers(desk, ticket, *messages)

    assert (await rows(desk))[an_id(ticket)][2] == 4
    assert await found(desk, "one two three four") == [1]


async def test_there_are_so_many_words_of_answers_and_no_more(desk: Desk) -> None:
    ticket = await opened(desk)
    texts = [" ".join(f"w{place}x{n}" for n in range(MAX_WORDS // 3)) for place in range(3)]
    for message in (*texts, "late", f"{texts[0]} later", texts[2]):
        await add_answers(desk, ticket, message)

    assert (await rows(desk))[an_id(ticket)][2] == MAX_WORDS
    for word in ("w0x0", "w1x999", f"w2x{MAX_WORDS // 3 - 1}"):
        assert await found(desk, word) == [1]
    for word in ("late", "later"):
        assert await found(desk, word) == []
    # The others are not affected, and neither are its own.
    assert await found(desk, "broke w1x0") == [1]
    await change(desk, ticket, title="Another")
    await relayed(desk)
    assert await found(desk, "another w1x0") == [1]


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
async def test_whatever_is_written_the_worker_keeps_up(desk: Desk, kind: str) -> None:
    hostile = HOSTILE[kind]
    first = await desk.open(title=hostile[:255], description=hostile)
    for _ in range(16):
        await desk.respond(first, hostile)
    await desk.open(title="Harmless")

    await relayed(desk)

    assert await failures(desk) == []
    assert await found(desk, "harmless") == [2]
    assert await found(desk, "#1") == [1]
    assert all(counted <= MAX_WORDS for counted in (await rows(desk))[an_id(first)])


async def test_of_an_answer_that_is_too_much_as_many_words_are_kept_as_there_is_room_for(desk: Desk) -> None:
    ticket = await opened(desk)
    await add_answers(desk, ticket, " ".join(f"w{n}" for n in range(MAX_WORDS - 2)))

    for message in ("late more words", "late more words again", "w0 w1"):
        await add_answers(desk, ticket, message)
        assert (await rows(desk))[an_id(ticket)][2] == MAX_WORDS

    assert [word for word in ("late", "more", "words", "again") if await found(desk, word)] == ["late", "more"]
    assert await found(desk, f"w0 w{MAX_WORDS - 3} late") == [1]


async def test_many_different_answers_are_kept_as_far_as_they_fit(desk: Desk) -> None:
    ticket = await desk.open(description=HOSTILE["words"])
    for place in range(64):
        await desk.respond(ticket, " ".join(f"{n:x}" for n in range(10_000 + 4_000 * place, 13_300 + 4_000 * place)))

    await relayed(desk)

    # The first answer alone has more.
    assert (await rows(desk))[an_id(ticket)] == (65, MAX_WORDS, MAX_WORDS - 1)
    assert await found(desk, f"{10_000:x} {10_000 + MAX_WORDS - 2:x}") == [1]
    assert await failures(desk) == []


# --- erasure ---------------------------------------------------------------------------------------------------------


async def test_who_is_erased_is_not_found_any_more(desk: Desk) -> None:
    mia = await a_customer(desk, "mia.moreau@shop.example")
    await open_own(mia)
    await desk.open(addedBy=mia.email)
    await relayed(desk)
    for q in (mia.email, "moreau", "shop"):
        assert await found(desk, q) == [2, 1]

    assert (await desk.admin.delete(f"/users/{mia.id}")).status_code == 204
    await relayed(desk)

    for q in (mia.email, "moreau", "shop"):
        assert await found(desk, q) == []
    assert await found(desk, "broke") == [2, 1]
    for q in ("erased", "invalid", f"erased-{mia.id}@erased.invalid"):
        assert await found(desk, q) == []
    async with desk.database.session(desk.id) as db:
        kept = await db.scalars(
            text("SELECT lexemes::text || answers::text FROM ticket_search WHERE org_id = :org"), {"org": desk.id}
        )
        assert not [words for words in kept if "moreau" in words]


async def test_a_customers_new_address_leaves_their_tickets_found_by_the_old_one(desk: Desk) -> None:
    mia = await a_customer(desk, "mia.moreau@shop.example")
    await open_own(mia)
    await relayed(desk)

    assert (await ask(desk, q="moreau")).json()["items"][0]["addedBy"] == mia.email
