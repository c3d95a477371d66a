"""Loop 2 of the worker: show each organisation's new events to the subscribers, once and in order.

One transaction takes the organisation's `relays` row, runs the subscribers (which only add rows, or bring what is
derived up to date) and moves the row on.
A subscriber that fails for an event leaves a `relay_failures` row, which is tried again by a timer and parked in the
end; it never holds up the rest. An event that a newer version of the code has written, and this one cannot read, fails
for each of its subscribers, and is tried again in the same way: by then the newer version may be running.
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
from app.core.outbox.subscriptions import AnySubscriber, Subscribers, name_of

BATCH = 500  # events of one organisation in one transaction
RELAY_RETRY = "RELAY_RETRY"
BACKOFF = Backoff(tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3600)))
ERROR_LENGTH = 300

log = structlog.get_logger("tessera.relay")

_IS_SOUND = text("SELECT 1")
_BEHIND = text(
    """
    SELECT relays.org_id FROM relays JOIN counters ON counters.org_id = relays.org_id
    WHERE counters.last_event > relays.last_seq
    """
)


async def relay_new(database: Database, subscribers: Subscribers, stopping: Callable[[], bool] = bool) -> int:
    """Relay batch after batch, an organisation at a time, until no events wait; returns how many it passed.

    Args:
        stopping: asked between batches; once it is true, the rest is left to the next worker.
    """

    async def serve(org_id: UUID) -> int:
        async with database.session(org_id) as db:
            return await relay_batch(db, org_id, subscribers)

    total = 0
    while True:
        async with database.session(None) as db:
            organisations = (await db.scalars(_BEHIND)).all()
        passed = await timers.in_turn(organisations, serve, stopping)
        total += passed
        if not passed:
            return total


async def catch_up(database: Database, org_id: UUID, subscribers: Subscribers) -> None:
    """Relay one organisation's events up to now."""
    async with database.session(org_id) as db:
        last_event = await db.scalar(select(Counter.last_event).where(Counter.org_id == org_id)) or 0
    reached = 0
    while reached < last_event:
        async with database.session(org_id) as db:
            await relay_batch(db, org_id, subscribers, skip_busy=False)
            reached = await db.scalar(select(Relay.last_seq).where(Relay.org_id == org_id)) or last_event


async def relay_batch(db: AsyncSession, org_id: UUID, subscribers: Subscribers, *, skip_busy: bool = True) -> int:
    """Relay an organisation's next events; returns how many, or 0 where another worker is at it.

    Args:
        skip_busy: do not wait for that other worker.
    """
    last_seq = await db.scalar(
        select(Relay.last_seq).where(Relay.org_id == org_id).with_for_update(key_share=True, skip_locked=skip_busy)
    )
    if last_seq is None:
        return 0
    last_event = await db.scalar(select(Counter.last_event).where(Counter.org_id == org_id)) or 0
    upto = min(last_event, last_seq + BATCH)
    if upto <= last_seq:
        return 0
    rows = await _rows(db, org_id, subscribers, EventRow.seq > last_seq, EventRow.seq <= upto)
    shares: dict[AnySubscriber, list[Recorded[Event]]] = {}
    for row in rows:
        interested = subscribers.to(row.type)
        try:
            event = Event.from_row(row)
        except UnreadableEvent as error:
            log.warning("event_unreadable", org_id=str(org_id), seq=row.seq, type=row.type, error=_described(error))
            for subscriber in interested:
                await _keep(db, org_id, subscriber, row.seq, error)
            continue
        for subscriber in interested:
            shares.setdefault(subscriber, []).append(event)
    for subscriber, theirs in shares.items():
        await _run(db, org_id, subscriber, theirs)
    await db.execute(update(Relay).where(Relay.org_id == org_id).values(last_seq=upto))
    return upto - last_seq


async def _rows(
    db: AsyncSession, org_id: UUID, subscribers: Subscribers, *which: ColumnElement[bool]
) -> Sequence[EventRow]:
    """The events that have a subscriber."""
    types = subscribers.types
    of_types = [] if types is None else [EventRow.type.in_(types)]
    found = select(EventRow).where(EventRow.org_id == org_id, *which, *of_types).order_by(EventRow.seq)
    return (await db.scalars(found)).all()


async def _run(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, events: Sequence[Recorded[Event]]) -> None:
    """Let a subscriber have all its events at once, or, where that fails, each alone."""
    if await _attempt(db, org_id, subscriber, events) is None:
        return
    for event in events:
        error = await _attempt(db, org_id, subscriber, [event])
        if error is not None:
            await _keep(db, org_id, subscriber, event.seq, error)


async def _attempt(
    db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, events: Sequence[Recorded[Event]]
) -> Exception | None:
    try:
        async with db.begin_nested():
            await subscriber(db, org_id, events)
            await db.flush()
            await db.execute(_IS_SOUND)  # or the subscriber has swallowed an error, and its savepoint must go
    except Exception as error:
        log.warning("subscriber_failed", subscriber=name_of(subscriber), org_id=str(org_id), exc_info=error)
        return error
    return None


async def _keep(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, seq: int, error: Exception) -> None:
    failure_id, now = new_id(), real_now()
    await db.execute(
        insert(RelayFailure).values(
            org_id=org_id, id=failure_id, seq=seq, subscriber=name_of(subscriber), attempts=1,
            last_error=_described(error), created_at=now,
        )
    )  # fmt: skip
    await timers.set_timers(db, org_id, failure_id, {RELAY_RETRY: now + BACKOFF.waits[0]})


def retry(subscribers: Subscribers) -> timers.Handler:
    """The handler of `RELAY_RETRY`: show the event to the subscriber again, and park it after the last attempt."""

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
    for row in await _rows(db, org_id, subscribers, EventRow.seq == failure.seq):
        # A subscriber that is gone since has nothing to do any more.
        named = [one for one in subscribers.to(row.type) if name_of(one) == failure.subscriber]
        if named and (error := await _show(db, org_id, named[0], row)):
            await _postpone(db, failure, error, now)
            return
    await db.execute(delete(RelayFailure).where(RelayFailure.org_id == org_id, RelayFailure.id == failure.id))


async def _show(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, row: EventRow) -> Exception | None:
    try:
        event = Event.from_row(row)
    except UnreadableEvent as error:
        return error
    return await _attempt(db, org_id, subscriber, [event])


async def _postpone(db: AsyncSession, failure: RelayFailure, error: Exception, now: datetime) -> None:
    failure.attempts += 1
    failure.last_error = _described(error)
    if (wait := BACKOFF.wait_after(failure.attempts)) is not None:
        await timers.set_timers(db, failure.org_id, failure.id, {RELAY_RETRY: now + wait})
        return
    failure.parked_at = now
    telemetry.EVENTS_PARKED.labels(failure.subscriber).inc()
    log.error(
        "event_parked", org_id=str(failure.org_id), seq=failure.seq, subscriber=failure.subscriber,
        error=failure.last_error,
    )  # fmt: skip


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:ERROR_LENGTH]
