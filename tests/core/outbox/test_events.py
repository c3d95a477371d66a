"""Events are numbered without gaps in commit order, and are never written without the change they are about."""

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


def knocked(times: int = 1) -> Knocked:
    return Knocked(at=real_now(), actor=SYSTEM, times_knocked=times)


async def open_up(db: AsyncSession, org_id: UUID, event: Knocked) -> None:
    await db.execute(update(Counter).where(Counter.org_id == org_id).values(last_number=Counter.last_number + 1))
    record(db, Opened(at=event.at, actor=SYSTEM))


async def creak(db: AsyncSession, _org_id: UUID, event: Opened) -> None:
    record(db, Creaked(at=event.at, actor=SYSTEM))


async def refuse(_db: AsyncSession, _org_id: UUID, _event: Event) -> None:
    raise PermissionError


@pytest.fixture(scope="module")
async def own(server: TestServer) -> TestServer:
    return await create_test_database(server, "events")


@pytest.fixture
async def pool(own: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own) as database:
        yield database


async def knock_in_vain(database: Database, org_id: UUID, events: int = 1) -> None:
    async with database.session(org_id) as db:
        record(db, *(knocked() for _ in range(events)))
        raise LookupError


async def stored(database: Database, org_id: UUID, after: int = 1) -> list[EventRow]:
    """The organisation's events but for its sign-up."""
    async with database.session(org_id) as db:
        found = select(EventRow).where(EventRow.org_id == org_id, EventRow.seq > after).order_by(EventRow.seq)
        return list(await db.scalars(found))


async def test_an_event_is_stored_as_it_happened(pool: Database) -> None:
    org_id, door_id, user_id, at = await create_organisation(pool), uuid4(), uuid4(), real_now()
    async with pool.session(org_id) as db:
        actor = Actor(ActorType.USER, user_id)
        record(db, Knocked(at=at, actor=actor, door_id=door_id, times_knocked=3))

    (event,) = await stored(pool, org_id)
    assert (event.seq, event.type, event.data) == (2, "test.knocked", {"timesKnocked": 3})
    assert (event.created_at, event.subject_id, event.actor_type, event.actor_id) == (at, door_id, "USER", user_id)
    assert event.version == 1


async def test_events_keep_the_order_they_were_recorded_in(pool: Database) -> None:
    org_id = await create_organisation(pool)
    async with pool.session(org_id) as db:
        record(db, *(knocked(n) for n in range(300)))
        record(db, knocked(300))

    events = await stored(pool, org_id)
    assert [event.seq for event in events] == list(range(2, 303))
    assert [event.data["timesKnocked"] for event in events] == list(range(301))


async def test_nothing_is_recorded_when_the_transaction_is_rolled_back(pool: Database) -> None:
    org_id = await create_organisation(pool)
    with pytest.raises(LookupError):
        await knock_in_vain(pool, org_id)
    async with pool.session(org_id) as db:
        record(db, knocked(2))

    assert [(event.seq, event.data["timesKnocked"]) for event in await stored(pool, org_id)] == [(2, 2)]


async def test_each_organisation_counts_for_itself(pool: Database) -> None:
    here, there = await create_organisation(pool), await create_organisation(pool)
    for org_id in (here, there, here):
        async with pool.session(org_id) as db:
            record(db, knocked())

    assert [event.seq for event in await stored(pool, here)] == [2, 3]
    assert [event.seq for event in await stored(pool, there)] == [2]


async def test_a_reader_that_asks_for_what_is_new_never_misses_an_event(own: TestServer) -> None:
    """Writers commit at random assign_times, some roll back, and one reader follows: what it sees has no gap, ever."""
    async with open_pool(own, pool_size=9) as pool:
        org_id = await create_organisation(pool)
        seen, writing = [1], True

        async def write(place: int) -> None:
            for n in range(25):
                async with pool.session(org_id) as db:
                    await asyncio.sleep(random.uniform(0, 0.003))
                    record(db, *(knocked(place * 1000 + n) for _ in range(random.randint(1, 3))))
                if n % 5 == 0:
                    with suppress(LookupError):
                        await knock_in_vain(pool, org_id, 2)

        async def follow() -> None:
            while True:
                last_round = not writing
                seen.extend(event.seq for event in await stored(pool, org_id, after=seen[-1]))
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


async def test_an_event_waits_for_the_one_before_it_and_takes_its_number_when_that_is_rolled_back(
    pool: Database,
) -> None:
    org_id = await create_organisation(pool)

    async def knock_later() -> None:
        async with pool.session(org_id) as db:
            record(db, knocked(2))

    async with pool.driver(org_id) as driver:
        await driver.execute("UPDATE counters SET last_event = last_event + 1 WHERE org_id = $1", org_id)
        later = asyncio.create_task(knock_later())
        await asyncio.sleep(0.1)
        assert not later.done()
        await driver.execute("ROLLBACK; BEGIN")
    await later

    assert [(event.seq, event.data["timesKnocked"]) for event in await stored(pool, org_id)] == [(2, 2)]


async def test_what_follows_from_an_event_happens_in_the_same_transaction(own: TestServer) -> None:
    reactions = Reactions().on(Knocked, open_up).on(Opened, creak)
    async with open_pool(own, before_commit=Numbering(reactions)) as pool:
        org_id = await create_organisation(pool)
        async with pool.session(org_id) as db:
            record(db, knocked())

        assert [event.type for event in await stored(pool, org_id)] == ["test.knocked", "test.opened", "test.creaked"]
        async with pool.session(org_id) as db:
            assert await db.scalar(select(Counter.last_number).where(Counter.org_id == org_id)) == 1


async def test_where_a_reaction_fails_nothing_has_happened(own: TestServer) -> None:
    async with open_pool(own, before_commit=Numbering(Reactions().on(Knocked, open_up, refuse))) as pool:
        org_id = await create_organisation(pool)
        with pytest.raises(PermissionError):
            async with pool.session(org_id) as db:
                record(db, knocked())

        assert await stored(pool, org_id) == []
        async with pool.session(org_id) as db:
            assert await db.scalar(select(Counter.last_number).where(Counter.org_id == org_id)) == 0


async def test_whoever_waits_for_events_is_told_after_the_commit_and_only_then(pool: Database) -> None:
    org_id = await create_organisation(pool)
    told: list[str] = []
    pool.after_commit.append(lambda: told.append("told"))
    async with pool.session(org_id) as db:
        await db.execute(text("SELECT 1"))
    with pytest.raises(LookupError):
        await knock_in_vain(pool, org_id)
    assert told == []

    async with pool.session(org_id) as db:
        record(db, knocked())
        assert told == []
    assert told == ["told"]
