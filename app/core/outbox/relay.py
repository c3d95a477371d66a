"""The worker's job `relay`: relay each organisation's new events to the subscribers, once and in order.

One transaction locks the organisation's `relays` row, runs the subscribers (which only add rows or update derived ones)
and advances the row.

If a subscriber fails for an event, a `relay_failures` row is stored. A timer then retries the subscriber with that
event. After the last attempt the row is marked as parked. A failure never delays other events. An event that this
version of the code cannot read, because a newer version wrote it, fails for each of its subscribers and is retried in
the same way: by then the newer version may be running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.events import Event, Recorded, UnreadableEvent
from app.core.outbox.models import Counter, EventRow, Relay
from app.core.outbox.relay_retries import call_subscriber, describe_error, store_failure
from app.core.outbox.subscriptions import AnySubscriber, Subscribers

# Of one organisation in one transaction. Small, because mails that are being sent wait while the subscribers run.
EVENTS_PER_BATCH = 100

log = structlog.get_logger("tessera.relay")

_ORGANISATIONS_BEHIND = text(
    """
    SELECT relays.org_id FROM relays JOIN counters ON counters.org_id = relays.org_id
    WHERE counters.last_event > relays.last_seq
    """
)


async def relay_new_events(
    database: Database, subscribers: Subscribers, stopping: Callable[[], bool] = lambda: False
) -> int:
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
        relayed = await timers.serve_each(organisations, serve, stopping)
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
        matching_subscribers = subscribers.find(row.type)
        try:
            event = Event.from_row(row)
        except UnreadableEvent as error:
            log.warning("event_unreadable", org_id=str(org_id), seq=row.seq, type=row.type, error=describe_error(error))
            for subscriber in matching_subscribers:
                await store_failure(db, org_id, subscriber, row.seq, error)
            continue
        for subscriber in matching_subscribers:
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
    if await call_subscriber(db, org_id, subscriber, events) is None:
        return
    for event in events:
        error = await call_subscriber(db, org_id, subscriber, [event])
        if error is not None:
            await store_failure(db, org_id, subscriber, event.seq, error)
