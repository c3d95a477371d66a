"""Loop 2 of the worker: relay each organisation's new events to the subscribers, once and in order.

One transaction locks the organisation's `relays` row, runs the subscribers (which only add rows or update derived ones)
and advances the row.
If a subscriber fails for an event, a `relay_failures` row is stored. A timer retries it, and it is parked after the
last attempt. It never delays other events. An event that this version of the code cannot read, because a newer version
wrote it, fails for each of its subscribers and is retried in the same way: by then the newer version may be running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, delete, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.backoff import Backoff
from app.core.outbox.events import Event, Recorded, UnreadableEvent
from app.core.outbox.models import Counter, EventRow, Relay, RelayFailure
from app.core.outbox.subscriptions import AnySubscriber, Subscribers, get_handler_name

EVENTS_PER_BATCH = 500  # of one organisation in one transaction
RELAY_RETRY = "RELAY_RETRY"
BACKOFF = Backoff(tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3600)))
MAX_ERROR_LENGTH = 300  # characters

log = structlog.get_logger("tessera.relay")

_CHECK_TRANSACTION = text("SELECT 1")
_ORGANISATIONS_BEHIND = text(
    """
    SELECT relays.org_id FROM relays JOIN counters ON counters.org_id = relays.org_id
    WHERE counters.last_event > relays.last_seq
    """
)


async def relay_new_events(database: Database, subscribers: Subscribers, stopping: Callable[[], bool] = bool) -> int:
    """Relay one batch per organisation in turn, until no events are left; return the number of events.

    Args:
        stopping: called between batches; once it returns true, the rest is left to another worker.
    """

    async def serve(org_id: UUID) -> int:
        async with database.session(org_id) as db:
            return await relay_batch(db, org_id, subscribers)

    total = 0
    while True:
        async with database.session(None) as db:
            organisations = (await db.scalars(_ORGANISATIONS_BEHIND)).all()
        relayed = await timers.serve_in_turn(organisations, serve, stopping)
        total += relayed
        if not relayed:
            return total


async def catch_up(database: Database, org_id: UUID, subscribers: Subscribers) -> None:
    """Relay the events that one organisation has so far."""
    async with database.session(org_id) as db:
        last_event = await db.scalar(select(Counter.last_event).where(Counter.org_id == org_id)) or 0
    last_seq = 0
    while last_seq < last_event:
        async with database.session(org_id) as db:
            await relay_batch(db, org_id, subscribers, skip_busy=False)
            last_seq = await db.scalar(select(Relay.last_seq).where(Relay.org_id == org_id)) or last_event


async def relay_batch(db: AsyncSession, org_id: UUID, subscribers: Subscribers, *, skip_busy: bool = True) -> int:
    """Relay an organisation's next events; return their number.

    Args:
        skip_busy: return 0 instead of waiting if another worker relays this organisation's events.
    """
    last_seq = await db.scalar(
        select(Relay.last_seq).where(Relay.org_id == org_id).with_for_update(key_share=True, skip_locked=skip_busy)
    )
    if last_seq is None:
        return 0
    last_event = await db.scalar(select(Counter.last_event).where(Counter.org_id == org_id)) or 0
    end = min(last_event, last_seq + EVENTS_PER_BATCH)
    if end <= last_seq:
        return 0
    rows = await _read_rows(db, org_id, subscribers, EventRow.seq > last_seq, EventRow.seq <= end)
    events_by_subscriber: dict[AnySubscriber, list[Recorded[Event]]] = {}
    for row in rows:
        interested = subscribers.find(row.type)
        try:
            event = Event.from_row(row)
        except UnreadableEvent as error:
            log.warning("event_unreadable", org_id=str(org_id), seq=row.seq, type=row.type, error=_describe(error))
            for subscriber in interested:
                await _store_failure(db, org_id, subscriber, row.seq, error)
            continue
        for subscriber in interested:
            events_by_subscriber.setdefault(subscriber, []).append(event)
    for subscriber, its_events in events_by_subscriber.items():
        await _run(db, org_id, subscriber, its_events)
    await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=end))
    return end - last_seq


async def _read_rows(
    db: AsyncSession, org_id: UUID, subscribers: Subscribers, *conditions: ColumnElement[bool]
) -> Sequence[EventRow]:
    """Read the events that meet the conditions and have a subscriber."""
    types = subscribers.types
    type_conditions = [] if types is None else [EventRow.type.in_(types)]
    statement = select(EventRow).where(EventRow.org_id == org_id, *conditions, *type_conditions).order_by(EventRow.seq)
    return (await db.scalars(statement)).all()


async def _run(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, events: Sequence[Recorded[Event]]) -> None:
    """Pass a subscriber all its events at once. If that fails, pass it each event alone, and store what fails."""
    if await _attempt(db, org_id, subscriber, events) is None:
        return
    for event in events:
        error = await _attempt(db, org_id, subscriber, [event])
        if error is not None:
            await _store_failure(db, org_id, subscriber, event.seq, error)


async def _attempt(
    db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, events: Sequence[Recorded[Event]]
) -> Exception | None:
    try:
        async with db.begin_nested():
            await subscriber(db, org_id, events)
            await db.flush()
            await db.execute(_CHECK_TRANSACTION)  # fails if the subscriber has swallowed a database error
    except Exception as error:
        log.warning("subscriber_failed", subscriber=get_handler_name(subscriber), org_id=str(org_id), exc_info=error)
        return error
    return None


async def _store_failure(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, seq: int, error: Exception) -> None:
    failure_id, now = new_id(), real_now()
    await db.execute(
        insert(RelayFailure).values(
            org_id=org_id, id=failure_id, seq=seq, subscriber=get_handler_name(subscriber), attempts=1,
            last_error=_describe(error), created_at=now,
        )
    )  # fmt: skip
    await timers.set_timers(db, org_id, failure_id, {RELAY_RETRY: now + BACKOFF.waits[0]})


def make_retry_handler(subscribers: Subscribers) -> timers.Handler:
    """Make the handler of `RELAY_RETRY` timers: relay the event again, and park it after the last attempt."""

    async def handle(db: AsyncSession, org_id: UUID, due: Sequence[timers.Due]) -> Sequence[timers.Due]:
        failures = await db.scalars(
            select(RelayFailure)
            .where(RelayFailure.org_id == org_id, RelayFailure.id.in_([d.subject_id for d in due]))
            .order_by(RelayFailure.id)
            .with_for_update(key_share=True, skip_locked=True)
        )
        locked = {failure.id: failure for failure in failures}
        claimed = await timers.claim(db, org_id, [d for d in due if d.subject_id in locked])
        for one in claimed:
            await _retry(db, locked[one.subject_id], subscribers, one.at)
        return claimed

    return handle


async def _retry(db: AsyncSession, failure: RelayFailure, subscribers: Subscribers, now: datetime) -> None:
    org_id = failure.org_id
    for row in await _read_rows(db, org_id, subscribers, EventRow.seq == failure.seq):
        # If the code no longer has the subscriber, the failure is deleted.
        named = [one for one in subscribers.find(row.type) if get_handler_name(one) == failure.subscriber]
        if named and (error := await _relay_row(db, org_id, named[0], row)):
            await _postpone(db, failure, error, now)
            return
    await db.execute(delete(RelayFailure).where(RelayFailure.org_id == org_id, RelayFailure.id == failure.id))


async def _relay_row(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, row: EventRow) -> Exception | None:
    try:
        event = Event.from_row(row)
    except UnreadableEvent as error:
        return error
    return await _attempt(db, org_id, subscriber, [event])


async def _postpone(db: AsyncSession, failure: RelayFailure, error: Exception, now: datetime) -> None:
    failure.attempts += 1
    failure.last_error = _describe(error)
    if (wait := BACKOFF.wait_after(failure.attempts)) is not None:
        await timers.set_timers(db, failure.org_id, failure.id, {RELAY_RETRY: now + wait})
        return
    failure.parked_at = now
    telemetry.EVENTS_PARKED.labels(failure.subscriber).inc()
    log.error(
        "event_parked", org_id=str(failure.org_id), seq=failure.seq, subscriber=failure.subscriber,
        error=failure.last_error,
    )  # fmt: skip


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:MAX_ERROR_LENGTH]
