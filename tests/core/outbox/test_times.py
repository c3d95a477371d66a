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
    type: ClassVar[str] = "test_times.rang"
    bell_id: Subject = A


def rang(at: datetime, bell_id: UUID = A) -> Rang:
    return Rang(at=at, actor=SYSTEM, bell_id=bell_id)


@pytest.fixture(scope="module")
async def own(server: TestServer) -> TestServer:
    return await create_test_database(server, "times")


@pytest.fixture
async def pool(own: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own, pool_size=9) as database:
        yield database


async def ring(database: Database, org_id: UUID, *events: Rang) -> None:
    async with database.session(org_id) as db:
        record(db, *events)


async def times(database: Database, org_id: UUID) -> list[datetime]:
    """Of the organisation's events but for its sign-up, in the order of their numbers."""
    async with database.session(org_id) as db:
        found = select(EventRow.created_at).where(EventRow.org_id == org_id, EventRow.seq > 1).order_by(EventRow.seq)
        return list(await db.scalars(found))


def test_an_event_has_its_own_time_where_that_is_later_than_the_one_before() -> None:
    assert assign_times([rang(NOON), rang(NOON + HOUR, B)], NOON - HOUR) == [NOON, NOON + HOUR]


def test_an_event_that_is_late_gets_the_next_time() -> None:
    assert assign_times([rang(NOON - HOUR)], NOON) == [NOON + TICK]
    assert assign_times([rang(NOON), rang(NOON - HOUR, B)], NOON - HOUR) == [NOON, NOON + TICK]


def test_events_about_one_subject_share_a_time_and_different_subjects_never_do() -> None:
    events = [rang(NOON), rang(NOON), rang(NOON, B), rang(NOON, B), rang(NOON)]

    assert assign_times(events, NOON) == [NOON + TICK * n for n in (1, 1, 2, 2, 3)]


async def test_the_counter_has_the_time_of_the_last_event(pool: Database) -> None:
    org_id, later = await create_organisation(pool), real_now() + HOUR
    for at in (later, later - 2 * HOUR, later + HOUR):
        await ring(pool, org_id, rang(at), rang(at, B))

    found = await times(pool, org_id)
    assert found == [later + n * TICK for n in (0, 1, 2, 3)] + [later + HOUR, later + HOUR + TICK]
    async with pool.session(org_id) as db:
        assert await db.scalar(select(Counter.last_at).where(Counter.org_id == org_id)) == found[-1]


async def test_events_with_times_of_their_own_keep_them_in_a_transaction_where_they_can(pool: Database) -> None:
    org_id, later = await create_organisation(pool), real_now() + HOUR
    await ring(pool, org_id, rang(later))
    await ring(pool, org_id, rang(later - HOUR), rang(later + HOUR, B), rang(later, A), rang(later + 2 * HOUR, B))

    expected = [later, later + TICK, later + HOUR, later + HOUR + TICK, later + 2 * HOUR]
    assert await times(pool, org_id) == expected


async def test_times_follow_numbers_whoever_commits_when(pool: Database) -> None:
    """Writers take their time between the moment that they take for now and the commit."""
    org_id = await create_organisation(pool)

    async def write(delay: float) -> None:
        for n in range(12):
            at = real_now()
            await asyncio.sleep(delay * (n % 3))
            await ring(pool, org_id, rang(at, uuid4()), rang(at, uuid4()))

    await asyncio.gather(*(write(place / 1000) for place in range(8)))

    found = await times(pool, org_id)
    assert len(found) == 8 * 12 * 2
    assert found == sorted(set(found))
