"""The times of events follow the order of the commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, Event, Subject, record
from app.core.outbox.models import Counter, EventRow
from app.core.outbox.numbering import TICK, assign_times
from tests.databases import create_organisation, create_test_database, open_pool

if TYPE_CHECKING:
    from tests.postgres import TestServer

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
A, B = UUID(int=1), UUID(int=2)


@dataclass(frozen=True, kw_only=True)
class Rang(Event):
    type: ClassVar[str] = "test_event_times.rang"
    bell_id: Subject = A


def make_rang(at: datetime, bell_id: UUID = A) -> Rang:
    return Rang(at=at, actor=SYSTEM, bell_id=bell_id)


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "event_times")


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own_database, pool_size=9) as database:
        yield database


async def ring(database: Database, org_id: UUID, *events: Rang) -> None:
    async with database.session(org_id) as db:
        record(db, *events)


async def read_times(database: Database, org_id: UUID) -> list[datetime]:
    """Return the times of the organisation's events after its sign-up, in the order of their numbers."""
    async with database.session(org_id) as db:
        found = select(EventRow.created_at).where(EventRow.org_id == org_id, EventRow.seq > 1).order_by(EventRow.seq)
        return list(await db.scalars(found))


def test_an_event_keeps_its_time_if_it_is_later_than_the_previous_one() -> None:
    assert assign_times([make_rang(NOON), make_rang(NOON + HOUR, B)], NOON - HOUR) == [NOON, NOON + HOUR]


def test_an_event_with_an_earlier_time_gets_the_next_possible_one() -> None:
    assert assign_times([make_rang(NOON - HOUR)], NOON) == [NOON + TICK]
    assert assign_times([make_rang(NOON), make_rang(NOON - HOUR, B)], NOON - HOUR) == [NOON, NOON + TICK]


def test_consecutive_events_share_a_time_only_if_they_share_a_subject() -> None:
    events = [make_rang(NOON), make_rang(NOON), make_rang(NOON, B), make_rang(NOON, B), make_rang(NOON)]

    assert assign_times(events, NOON) == [NOON + TICK * n for n in (1, 1, 2, 2, 3)]


async def test_the_counter_has_the_time_of_the_last_event(pool: Database) -> None:
    org_id, later = await create_organisation(pool), real_now() + HOUR
    for at in (later, later - 2 * HOUR, later + HOUR):
        await ring(pool, org_id, make_rang(at), make_rang(at, B))

    found = await read_times(pool, org_id)
    assert found == [later + n * TICK for n in (0, 1, 2, 3)] + [later + HOUR, later + HOUR + TICK]
    async with pool.session(org_id) as db:
        assert await db.scalar(select(Counter.last_at).where(Counter.org_id == org_id)) == found[-1]


async def test_events_of_one_transaction_keep_their_times_where_possible(pool: Database) -> None:
    org_id, later = await create_organisation(pool), real_now() + HOUR
    await ring(pool, org_id, make_rang(later))
    await ring(
        pool,
        org_id,
        make_rang(later - HOUR),
        make_rang(later + HOUR, B),
        make_rang(later, A),
        make_rang(later + 2 * HOUR, B),
    )

    expected = [later, later + TICK, later + HOUR, later + HOUR + TICK, later + 2 * HOUR]
    assert await read_times(pool, org_id) == expected


async def test_times_follow_the_numbers_with_concurrent_writers(pool: Database) -> None:
    """Each writer waits between taking the time of its event and the commit."""
    org_id = await create_organisation(pool)

    async def write(delay: float) -> None:
        for n in range(12):
            at = real_now()
            await asyncio.sleep(delay * (n % 3))
            await ring(pool, org_id, make_rang(at, uuid4()), make_rang(at, uuid4()))

    await asyncio.gather(*(write(place / 1000) for place in range(8)))

    found = await read_times(pool, org_id)
    assert len(found) == 8 * 12 * 2
    assert found == sorted(set(found))
