"""The worker relays each event to its subscribers once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.events import ANY, SYSTEM, Event, Recorded, record
from app.core.outbox.models import Counter as CounterRow
from app.core.outbox.models import EventRow, Relay
from app.core.outbox.relay import EVENTS_PER_BATCH
from app.core.outbox.subscriptions import Subscribers, get_handler_name
from tests.core.outbox.relay_events import (
    Knocked,
    Listener,
    Rang,
    Visit,
    knock,
    read_failures,
    read_written_numbers,
    retry_now,
)
from tests.databases import create_organisation

# --- relaying once ---------------------------------------------------------------------------------------------------


async def test_each_event_is_relayed_once_and_in_order(pool: Database, org_id: UUID) -> None:
    listener = Listener()
    subscribers = Subscribers().on(Knocked, listener)
    await knock(pool, org_id, *range(EVENTS_PER_BATCH + 100))

    assert await relay.relay_new_events(pool, subscribers) == EVENTS_PER_BATCH + 100
    assert await relay.relay_new_events(pool, subscribers) == 0
    assert listener.received == list(range(EVENTS_PER_BATCH + 100))
    assert listener.batches == [(org_id, EVENTS_PER_BATCH), (org_id, 100)]


async def test_subscribers_receive_the_types_that_they_subscribed_to(pool: Database, org_id: UUID) -> None:
    knocks, both = Listener(), Listener(name="both")
    subscribers = Subscribers().on(Knocked, knocks, both).on(Rang, both)
    await knock(pool, org_id, 1)
    await knock(pool, org_id, 2, kind=Rang)
    await knock(pool, org_id, 3)

    await relay.relay_new_events(pool, subscribers)
    assert (knocks.received, both.received) == ([1, 3], [1, 2, 3])


@pytest.mark.usefixtures("org_id")
async def test_two_workers_at_once_relay_each_event_once(pool: Database) -> None:
    organisations = [await create_organisation(pool) for _ in range(4)]
    for org_id in organisations:
        await knock(pool, org_id, *range(EVENTS_PER_BATCH + 50))
    listener = Listener(pause=0.01)

    await asyncio.gather(*(relay.relay_new_events(pool, Subscribers().on(Knocked, listener)) for _ in range(3)))

    for org_id in organisations:
        assert await read_written_numbers(pool, org_id) == Counter(range(EVENTS_PER_BATCH + 50))
    assert Counter(listener.received) == Counter(dict.fromkeys(range(EVENTS_PER_BATCH + 50), 4))


async def test_events_of_a_transaction_that_is_still_open_are_relayed_later(pool: Database, org_id: UUID) -> None:
    listener = Listener()
    subscribers = Subscribers().on(Knocked, listener)
    async with pool.session(org_id) as db:
        record(db, Knocked(at=real_now(), actor=SYSTEM, n=1))
        await db.execute(select(CounterRow).where(CounterRow.org_id == org_id).with_for_update())
        assert await relay.relay_new_events(pool, subscribers) == 0
    assert await relay.relay_new_events(pool, subscribers) == 1
    assert listener.received == [1]


async def test_a_backlog_of_one_organisation_does_not_starve_another(pool: Database, org_id: UUID) -> None:
    other, listener = await create_organisation(pool), Listener()
    await knock(pool, org_id, *range(3 * EVENTS_PER_BATCH))
    await knock(pool, other, 1)

    await relay.relay_new_events(pool, Subscribers().on(Knocked, listener))
    assert (other, 1) in listener.batches[:2]


async def test_a_rolled_back_batch_is_relayed_again(pool: Database, org_id: UUID) -> None:
    listener = Listener()
    subscribers = Subscribers().on(Knocked, listener)
    await knock(pool, org_id, 1)

    async def relay_and_fail() -> None:
        async with pool.session(org_id) as db:
            assert await relay.relay_batch(db, org_id, subscribers) == 1
            raise LookupError

    with pytest.raises(LookupError):
        await relay_and_fail()
    assert await read_written_numbers(pool, org_id) == Counter()

    await relay.catch_up(pool, org_id, subscribers)
    assert await read_written_numbers(pool, org_id) == Counter([1])


async def test_a_stopping_worker_leaves_the_rest_to_the_next_one(pool: Database, org_id: UUID) -> None:
    listener = Listener()
    await knock(pool, org_id, *range(2 * EVENTS_PER_BATCH))

    def is_stopping() -> bool:
        return bool(listener.batches)

    assert await relay.relay_new_events(pool, Subscribers().on(Knocked, listener), is_stopping) == EVENTS_PER_BATCH
    async with pool.session(org_id) as db:
        assert await db.scalar(select(Relay.last_seq).where(Relay.org_id == org_id)) == EVENTS_PER_BATCH + 1


async def test_the_stored_name_of_a_subscriber_is_its_function_name() -> None:
    async def tell(_db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Visit]]) -> None: ...

    assert get_handler_name(tell) == "tell"


# --- events of a newer version ---------------------------------------------------------------------------------------


async def write_unreadable(database: Database, org_id: UUID, **columns: Any) -> None:
    """Record an event and change its row, as a newer version of the code would write it."""
    await knock(database, org_id, 0)
    async with database.session(org_id) as db:
        last = select(func.max(EventRow.seq)).where(EventRow.org_id == org_id).scalar_subquery()
        await db.execute(update(EventRow).where(EventRow.org_id == org_id, EventRow.seq == last).values(**columns))


async def test_an_unknown_event_without_a_subscriber_is_skipped(pool: Database, org_id: UUID) -> None:
    listener = Listener()
    await write_unreadable(pool, org_id, type="test_relay.unknown")
    await knock(pool, org_id, 1)

    assert await relay.relay_new_events(pool, Subscribers().on(Knocked, listener)) == 2
    assert listener.received == [1]
    assert await read_failures(pool, org_id) == []


async def test_an_unknown_event_delays_nothing_and_is_relayed_once_its_class_exists(
    pool: Database, org_id: UUID
) -> None:
    shown: list[Event] = []

    async def watch(_db: AsyncSession, _org_id: UUID, recorded: Sequence[Recorded[Event]]) -> None:
        shown.extend(one.event for one in recorded)

    subscribers = Subscribers().on(ANY, watch)
    await write_unreadable(pool, org_id, type="test_relay.sang")
    await knock(pool, org_id, 1)
    with capture_logs() as logs:
        assert await relay.relay_new_events(pool, subscribers) == 2
    assert [event.type for event in shown] == [Knocked.type]
    assert [line["type"] for line in logs if line["event"] == "event_unreadable"] == ["test_relay.sang"]
    await retry_now(pool, org_id, subscribers)
    (failure,) = await read_failures(pool, org_id)
    assert (failure.subscriber, failure.attempts, failure.parked_at) == ("watch", 2, None)
    assert failure.last_error == "UnreadableEvent: test_relay.sang of version 1 is not in the catalogue."

    @dataclass(frozen=True, kw_only=True)
    class Sang(Event):
        type: ClassVar[str] = "test_relay.sang"

    await retry_now(pool, org_id, subscribers)
    assert [type(event) for event in shown] == [Knocked, Sang]
    assert await read_failures(pool, org_id) == []


async def test_an_event_of_a_newer_version_fails_only_for_its_subscribers(pool: Database, org_id: UUID) -> None:
    listener, other = Listener(), Listener(name="other")
    await write_unreadable(pool, org_id, version=2)
    await knock(pool, org_id, 1)
    await knock(pool, org_id, 2, kind=Rang)
    with capture_logs():
        await relay.relay_new_events(pool, Subscribers().on(Knocked, listener).on(Rang, other))

    assert (listener.received, other.received) == ([1], [2])
    assert [failure.subscriber for failure in await read_failures(pool, org_id)] == ["listen"]
