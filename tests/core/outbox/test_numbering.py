"""Numbering: events get dense numbers in commit order, and are written in the transaction of their change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, Actor, ActorType, Event, Subject, record
from app.core.outbox.models import Counter, EventRow
from app.core.outbox.numbering import Numbering
from app.core.outbox.subscriptions import Reactions
from tests.databases import create_organisation, create_test_database, open_pool

if TYPE_CHECKING:
    from tests.postgres import TestServer


DOOR = UUID(int=7)


@dataclass(frozen=True, kw_only=True)
class Knocked(Event):
    type: ClassVar[str] = "test.knocked"
    door_id: Subject = DOOR
    times_knocked: int = 1


@dataclass(frozen=True, kw_only=True)
class Opened(Event):
    type: ClassVar[str] = "test.opened"


@dataclass(frozen=True, kw_only=True)
class Creaked(Event):
    type: ClassVar[str] = "test.creaked"


def make_knocked(times: int = 1) -> Knocked:
    return Knocked(at=real_now(), actor=SYSTEM, times_knocked=times)


async def record_opened(db: AsyncSession, org_id: UUID, event: Knocked) -> None:
    await db.execute(update(Counter).where(Counter.org_id == org_id).values(last_number=Counter.last_number + 1))
    record(db, Opened(at=event.at, actor=SYSTEM))


async def record_creaked(db: AsyncSession, _org_id: UUID, event: Opened) -> None:
    record(db, Creaked(at=event.at, actor=SYSTEM))


async def refuse(_db: AsyncSession, _org_id: UUID, _event: Event) -> None:
    raise PermissionError


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "numbering")


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own_database) as database:
        yield database


async def record_and_roll_back(database: Database, org_id: UUID, events: int = 1) -> None:
    async with database.session(org_id) as db:
        record(db, *(make_knocked() for _ in range(events)))
        raise LookupError


async def read_events(database: Database, org_id: UUID, after: int = 1) -> list[EventRow]:
    """Read the organisation's events after its sign-up."""
    async with database.session(org_id) as db:
        found = select(EventRow).where(EventRow.org_id == org_id, EventRow.seq > after).order_by(EventRow.seq)
        return list(await db.scalars(found))


async def test_an_event_is_stored_with_its_data_time_subject_and_actor(pool: Database) -> None:
    org_id, door_id, user_id, at = await create_organisation(pool), uuid4(), uuid4(), real_now()
    async with pool.session(org_id) as db:
        actor = Actor(ActorType.USER, user_id)
        record(db, Knocked(at=at, actor=actor, door_id=door_id, times_knocked=3))

    (event,) = await read_events(pool, org_id)
    assert (event.seq, event.type, event.data) == (2, "test.knocked", {"timesKnocked": 3})
    assert (event.created_at, event.subject_id, event.actor_type, event.actor_id) == (at, door_id, "USER", user_id)
    assert event.version == 1


async def test_events_keep_the_order_of_their_recording(pool: Database) -> None:
    org_id = await create_organisation(pool)
    async with pool.session(org_id) as db:
        record(db, *(make_knocked(n) for n in range(300)))
        record(db, make_knocked(300))

    events = await read_events(pool, org_id)
    assert [event.seq for event in events] == list(range(2, 303))
    assert [event.data["timesKnocked"] for event in events] == list(range(301))


async def test_a_rolled_back_transaction_writes_no_events(pool: Database) -> None:
    org_id = await create_organisation(pool)
    with pytest.raises(LookupError):
        await record_and_roll_back(pool, org_id)
    async with pool.session(org_id) as db:
        record(db, make_knocked(2))

    assert [(event.seq, event.data["timesKnocked"]) for event in await read_events(pool, org_id)] == [(2, 2)]


async def test_each_organisation_has_its_own_numbers(pool: Database) -> None:
    here, there = await create_organisation(pool), await create_organisation(pool)
    for org_id in (here, there, here):
        async with pool.session(org_id) as db:
            record(db, make_knocked())

    assert [event.seq for event in await read_events(pool, here)] == [2, 3]
    assert [event.seq for event in await read_events(pool, there)] == [2]


async def test_a_reader_that_asks_for_newer_numbers_never_misses_an_event(own_database: TestServer) -> None:
    """Writers commit at random times, some roll back, and a concurrent reader must never see a gap."""
    async with open_pool(own_database, pool_size=9) as pool:
        org_id = await create_organisation(pool)
        seen, writing = [1], True

        async def write(place: int) -> None:
            for n in range(25):
                async with pool.session(org_id) as db:
                    await asyncio.sleep(random.uniform(0, 0.003))
                    record(db, *(make_knocked(place * 1000 + n) for _ in range(random.randint(1, 3))))
                if n % 5 == 0:
                    with suppress(LookupError):
                        await record_and_roll_back(pool, org_id, 2)

        async def follow() -> None:
            while True:
                last_round = not writing
                seen.extend(event.seq for event in await read_events(pool, org_id, after=seen[-1]))
                if last_round:
                    return

        follower = asyncio.create_task(follow())
        await asyncio.gather(*(write(place) for place in range(8)))
        writing = False
        await follower

        async with pool.session(org_id) as db:
            last = await db.scalar(select(Counter.last_event).where(Counter.org_id == org_id))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) == last
    assert len(seen) > 150


async def test_an_event_waits_for_the_previous_commit_and_takes_the_number_of_a_rolled_back_one(
    pool: Database,
) -> None:
    org_id = await create_organisation(pool)

    async def knock_later() -> None:
        async with pool.session(org_id) as db:
            record(db, make_knocked(2))

    async with pool.driver(org_id) as driver:
        await driver.execute("UPDATE counters SET last_event = last_event + 1 WHERE org_id = $1", org_id)
        later = asyncio.create_task(knock_later())
        await asyncio.sleep(0.1)
        assert not later.done()
        await driver.execute("ROLLBACK; BEGIN")
    await later

    assert [(event.seq, event.data["timesKnocked"]) for event in await read_events(pool, org_id)] == [(2, 2)]


async def test_reactions_run_in_the_transaction_of_the_event(own_database: TestServer) -> None:
    reactions = Reactions().on(Knocked, record_opened).on(Opened, record_creaked)
    async with open_pool(own_database, before_commit=Numbering(reactions)) as pool:
        org_id = await create_organisation(pool)
        async with pool.session(org_id) as db:
            record(db, make_knocked())

        assert [event.type for event in await read_events(pool, org_id)] == [
            "test.knocked",
            "test.opened",
            "test.creaked",
        ]
        async with pool.session(org_id) as db:
            assert await db.scalar(select(Counter.last_number).where(Counter.org_id == org_id)) == 1


async def test_a_failing_reaction_rolls_the_transaction_back(own_database: TestServer) -> None:
    async with open_pool(own_database, before_commit=Numbering(Reactions().on(Knocked, record_opened, refuse))) as pool:
        org_id = await create_organisation(pool)
        with pytest.raises(PermissionError):
            async with pool.session(org_id) as db:
                record(db, make_knocked())

        assert await read_events(pool, org_id) == []
        async with pool.session(org_id) as db:
            assert await db.scalar(select(Counter.last_number).where(Counter.org_id == org_id)) == 0


async def test_listeners_are_called_only_after_a_commit_with_events(pool: Database) -> None:
    org_id = await create_organisation(pool)
    calls: list[str] = []
    pool.after_commit.append(lambda: calls.append("called"))
    async with pool.session(org_id) as db:
        await db.execute(text("SELECT 1"))
    with pytest.raises(LookupError):
        await record_and_roll_back(pool, org_id)
    assert calls == []

    async with pool.session(org_id) as db:
        record(db, make_knocked())
        assert calls == []
    assert calls == ["called"]
