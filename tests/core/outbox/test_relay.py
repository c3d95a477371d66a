"""The relay: events reach subscribers once and in order, and failures affect nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import relay, timers
from app.core.outbox.events import ANY, SYSTEM, Event, Recorded, record
from app.core.outbox.models import Counter as CounterRow
from app.core.outbox.models import EventRow, Relay, RelayFailure, Timer
from app.core.outbox.relay import EVENTS_PER_BATCH
from app.core.outbox.relay_retries import BACKOFF, RELAY_RETRY, make_retry_handler
from app.core.outbox.subscriptions import Subscribers, get_handler_name
from tests.databases import create_organisation, create_test_database, open_pool

if TYPE_CHECKING:
    from tests.postgres import TestServer

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Visit(Event):
    """The base of the events of this file."""

    n: int


@dataclass(frozen=True, kw_only=True)
class Knocked(Visit):
    type: ClassVar[str] = "test_relay.knocked"


@dataclass(frozen=True, kw_only=True)
class Rang(Visit):
    type: ClassVar[str] = "test_relay.rang"


@dataclass
class Listener:
    """A subscriber that also writes the numbers of its events as timers, which a rollback removes."""

    failing: set[int] = field(default_factory=set)
    received: list[int] = field(default_factory=list)
    batches: list[tuple[UUID, int]] = field(default_factory=list)
    pause: float = 0.0  # seconds
    name: str = "listen"

    def __post_init__(self) -> None:
        self.__name__ = self.name

    def __hash__(self) -> int:
        return id(self)

    async def __call__(self, db: AsyncSession, org_id: UUID, events: Sequence[Recorded[Visit]]) -> None:
        await asyncio.sleep(self.pause)
        numbers = [recorded.event.n for recorded in events]
        self.received.extend(numbers)
        await timers.set_timers(db, org_id, uuid4(), {f"{self.name} {n}": real_now() for n in numbers})
        if failing := self.failing & set(numbers):
            raise ArithmeticError(f"cannot handle {failing}\nand more")
        self.batches.append((org_id, len(events)))


async def read_written_numbers(database: Database, org_id: UUID, name: str = "listen") -> Counter[int]:
    """Return the numbers that the subscriber's committed transactions have written."""
    async with database.session(org_id) as db:
        kinds = await db.scalars(select(Timer.kind).where(Timer.org_id == org_id, Timer.kind.like(f"{name} %")))
        return Counter(int(kind.split()[1]) for kind in kinds)


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "relay")


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own_database) as database:
        await relay.relay_new_events(database, Subscribers())  # the events of earlier tests
        async with database.session(None) as db:
            await db.execute(delete(Timer))
        yield database


@pytest.fixture
async def org_id(pool: Database) -> UUID:
    org_id = await create_organisation(pool)
    await relay.relay_new_events(pool, Subscribers())
    return org_id


async def knock(database: Database, org_id: UUID, *numbers: int, kind: type[Visit] = Knocked) -> None:
    async with database.session(org_id) as db:
        record(db, *(kind(at=real_now(), actor=SYSTEM, n=n) for n in numbers))


async def read_failures(database: Database, org_id: UUID) -> list[RelayFailure]:
    async with database.session(org_id) as db:
        found = select(RelayFailure).where(RelayFailure.org_id == org_id).order_by(RelayFailure.seq)
        return list(await db.scalars(found))


async def read_retry_timers(database: Database, org_id: UUID) -> list[Timer]:
    async with database.session(org_id) as db:
        return list(await db.scalars(select(Timer).where(Timer.org_id == org_id, Timer.kind == RELAY_RETRY)))


async def retry_now(database: Database, org_id: UUID, subscribers: Subscribers) -> None:
    """Retry failed events without waiting for their timers."""
    async with database.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.kind == RELAY_RETRY)
        await db.execute(update(Timer).where(*conditions).values(due_at=real_now() - SECOND))
    with capture_logs():
        await timers.run_due(database, {RELAY_RETRY: make_retry_handler(subscribers)})


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


# --- failures --------------------------------------------------------------------------------------------------------


async def test_one_failing_event_does_not_affect_the_others(pool: Database, org_id: UUID) -> None:
    listener, other = Listener(failing={42}), Listener(name="other")
    await knock(pool, org_id, *range(100))
    with capture_logs() as logs:
        assert await relay.relay_new_events(pool, Subscribers().on(Knocked, listener, other)) == 100

    assert await read_written_numbers(pool, org_id) == Counter(n for n in range(100) if n != 42)
    assert await read_written_numbers(pool, org_id, "other") == Counter(range(100))
    (failure,) = await read_failures(pool, org_id)
    assert (failure.subscriber, failure.attempts, failure.parked_at) == ("listen", 1, None)
    assert failure.last_error == "ArithmeticError: cannot handle {42}"
    assert any(line["event"] == "subscriber_failed" and line["subscriber"] == "listen" for line in logs)
    (timer,) = await read_retry_timers(pool, org_id)
    assert timer.subject_id == failure.id
    assert timedelta(0) <= failure.created_at + BACKOFF.waits[0] - timer.due_at < SECOND


async def test_a_failing_subscriber_does_not_delay_other_events_or_organisations(pool: Database, org_id: UUID) -> None:
    other, listener = await create_organisation(pool), Listener(failing={1})
    subscribers = Subscribers().on(Knocked, listener)
    await knock(pool, org_id, 1)
    with capture_logs():
        await relay.relay_new_events(pool, subscribers)
    await knock(pool, org_id, 2)
    await knock(pool, other, 3)
    await relay.relay_new_events(pool, subscribers)

    assert await read_written_numbers(pool, org_id) == Counter([2])
    assert await read_written_numbers(pool, other) == Counter([3])


async def test_a_database_error_of_a_subscriber_does_not_affect_others(pool: Database, org_id: UUID) -> None:
    async def divide(db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Visit]]) -> None:
        await db.execute(text("SELECT 1 / 0"))

    async def divide_and_ignore_the_error(db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Visit]]) -> None:
        with pytest.raises(DBAPIError):
            await db.execute(text("SELECT 1 / 0"))

    listener = Listener()
    await knock(pool, org_id, 1)
    with capture_logs():
        await relay.relay_new_events(pool, Subscribers().on(Knocked, divide, divide_and_ignore_the_error, listener))

    assert await read_written_numbers(pool, org_id) == Counter([1])
    assert {failure.subscriber for failure in await read_failures(pool, org_id)} == {
        "divide",
        "divide_and_ignore_the_error",
    }


async def test_events_of_a_failed_subscriber_are_dropped_with_its_savepoint(pool: Database, org_id: UUID) -> None:
    async def ring(db: AsyncSession, _org_id: UUID, events: Sequence[Recorded[Visit]]) -> None:
        record(db, *(Rang(at=real_now(), actor=SYSTEM, n=recorded.event.n) for recorded in events))
        if any(recorded.event.n == 2 for recorded in events):
            raise ArithmeticError

    await knock(pool, org_id, 1, 2, 3)
    with capture_logs():
        await relay.relay_new_events(pool, Subscribers().on(Knocked, ring))

    async with pool.session(org_id) as db:
        rang = select(EventRow.data).where(EventRow.org_id == org_id, EventRow.type == Rang.type)
        assert [data["n"] for data in await db.scalars(rang.order_by(EventRow.seq))] == [1, 3]


async def test_a_failed_event_is_retried_for_its_subscriber_only(pool: Database, org_id: UUID) -> None:
    listener, other = Listener(failing={1}), Listener(name="other")
    subscribers = Subscribers().on(Knocked, listener, other)
    await knock(pool, org_id, 1, 2)
    with capture_logs():
        await relay.relay_new_events(pool, subscribers)
    listener.failing.clear()
    await retry_now(pool, org_id, subscribers)

    assert await read_written_numbers(pool, org_id) == Counter([1, 2])
    assert await read_written_numbers(pool, org_id, "other") == Counter([1, 2])
    assert other.received == [1, 2]
    assert await read_failures(pool, org_id) == []
    assert await read_retry_timers(pool, org_id) == []


async def test_an_event_is_parked_after_the_last_attempt(pool: Database, org_id: UUID) -> None:
    listener = Listener(failing={1}, name="stubborn")
    subscribers = Subscribers().on(Knocked, listener)
    parked = telemetry.EVENTS_PARKED.labels("stubborn")
    before = parked._value.get()
    await knock(pool, org_id, 1)
    with capture_logs() as logs:
        await relay.relay_new_events(pool, subscribers)
        waits = []
        while timers_left := await read_retry_timers(pool, org_id):
            began = real_now()
            waits.append(timers_left[0].due_at - began)
            async with pool.session(org_id) as db:
                conditions = (Timer.org_id == org_id, Timer.kind == RELAY_RETRY)
                await db.execute(update(Timer).where(*conditions).values(due_at=began))
            await timers.run_due(pool, {RELAY_RETRY: make_retry_handler(subscribers)})

    assert [round(wait / SECOND) for wait in waits] == [5, 30, 120, 600, 3600]
    (failure,) = await read_failures(pool, org_id)
    assert failure.attempts == BACKOFF.max_attempts
    assert failure.parked_at is not None
    assert await read_written_numbers(pool, org_id, "stubborn") == Counter()
    assert parked._value.get() == before + 1
    (logged,) = [line for line in logs if line["event"] == "event_parked"]
    assert (logged["log_level"], logged["subscriber"], logged["seq"]) == ("error", "stubborn", failure.seq)


async def test_two_workers_retry_a_failed_event_once(pool: Database, org_id: UUID) -> None:
    listener = Listener(failing=set(range(20)))
    subscribers = Subscribers().on(Knocked, listener)
    await knock(pool, org_id, *range(20))
    with capture_logs():
        await relay.relay_new_events(pool, subscribers)
    listener.failing, listener.received = set(), []
    async with pool.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.kind == RELAY_RETRY)
        await db.execute(update(Timer).where(*conditions).values(due_at=real_now() - SECOND))
    handlers = {RELAY_RETRY: make_retry_handler(subscribers)}

    await asyncio.gather(*(timers.run_due(pool, handlers) for _ in range(3)))
    assert await read_written_numbers(pool, org_id) == Counter(range(20))
    assert sorted(listener.received) == list(range(20))


async def test_a_failure_of_a_removed_subscriber_is_deleted(pool: Database, org_id: UUID) -> None:
    await knock(pool, org_id, 1)
    with capture_logs():
        await relay.relay_new_events(pool, Subscribers().on(Knocked, Listener(failing={1})))
    await retry_now(pool, org_id, Subscribers().on(Knocked, Listener(name="another")))

    assert await read_failures(pool, org_id) == []
    assert await read_retry_timers(pool, org_id) == []


async def test_a_failing_organisation_does_not_delay_others(pool: Database, org_id: UUID) -> None:
    """Its subscriber loses the connection, so that the failure cannot be stored."""
    other, listener = await create_organisation(pool), Listener()

    async def lose_connection(db: AsyncSession, at: UUID, events: Sequence[Recorded[Visit]]) -> None:
        if at == org_id:
            (await Database.get_driver(db)).terminate()
        await listener(db, at, events)

    await knock(pool, org_id, 1)
    await knock(pool, other, 2)
    with capture_logs(), pytest.raises(PendingRollbackError):
        await relay.relay_new_events(pool, Subscribers().on(Knocked, lose_connection))
    assert await read_written_numbers(pool, other) == Counter([2])

    await relay.relay_new_events(pool, Subscribers().on(Knocked, listener))
    assert await read_written_numbers(pool, org_id) == Counter([1])


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
