"""An event that a subscriber fails to handle is retried, parked, and delays nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from jinja2 import TemplateNotFound
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, InterfaceError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import relay, timers
from app.core.outbox.backoff import RELAY_BACKOFF
from app.core.outbox.events import SYSTEM, Recorded, record
from app.core.outbox.models import EventRow, Timer
from app.core.outbox.relay_retries import RELAY_RETRY, make_retry_handler
from app.core.outbox.subscriptions import Subscribers
from tests.core.outbox.relay_events import (
    SECOND,
    Knocked,
    Listener,
    Rang,
    Visit,
    knock,
    read_failures,
    read_retry_timers,
    read_written_numbers,
    retry_now,
)
from tests.databases import create_organisation

if TYPE_CHECKING:
    from tests.databases import Superuser


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
    assert timedelta(0) <= failure.created_at + RELAY_BACKOFF.waits[0] - timer.due_at < SECOND


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


@pytest.mark.parametrize("error", [TemplateNotFound("reply"), FileNotFoundError(2, "no font"), TimeoutError()])
async def test_an_error_that_says_nothing_about_the_database_is_a_failure_of_the_subscriber(
    pool: Database, org_id: UUID, error: Exception
) -> None:
    async def render(_db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Visit]]) -> None:
        raise error

    listener = Listener()
    await knock(pool, org_id, 1)
    with capture_logs():
        assert await relay.relay_new_events(pool, Subscribers().on(Knocked, render, listener)) == 1

    assert await read_written_numbers(pool, org_id) == Counter([1])
    assert [failure.subscriber for failure in await read_failures(pool, org_id)] == ["render"]


@pytest.mark.parametrize("wrong", ["SELECT no_column FROM timers", "SELECT 1 FROM no_table"])
async def test_a_missing_column_or_table_is_a_failure_of_the_subscriber_unless_the_database_is_not_migrated(
    pool: Database, org_id: UUID, superuser: Superuser, wrong: str
) -> None:
    async def read(db: AsyncSession, _org_id: UUID, _events: Sequence[Recorded[Visit]]) -> None:
        await db.execute(text(wrong))

    subscribers = Subscribers().on(Knocked, read)
    await knock(pool, org_id, 1)
    await superuser.execute("UPDATE supported_revisions SET revision = revision || 'x'")
    try:
        with capture_logs(), pytest.raises(ProgrammingError):
            await relay.relay_new_events(pool, subscribers)
    finally:
        await superuser.execute("UPDATE supported_revisions SET revision = rtrim(revision, 'x')")
    assert await read_failures(pool, org_id) == []

    with capture_logs():
        assert await relay.relay_new_events(pool, subscribers) == 1
    assert [failure.subscriber for failure in await read_failures(pool, org_id)] == ["read"]


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
    assert failure.attempts == RELAY_BACKOFF.max_attempts
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
    with capture_logs(), pytest.raises(InterfaceError):
        await relay.relay_new_events(pool, Subscribers().on(Knocked, lose_connection))
    assert await read_written_numbers(pool, other) == Counter([2])

    await relay.relay_new_events(pool, Subscribers().on(Knocked, listener))
    assert await read_written_numbers(pool, org_id) == Counter([1])
