"""Retry events that a subscriber failed on.

Each has a row in `relay_failures`. A timer retries it, and it is parked after the last attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.outages import is_outage, is_unmigrated, lacks_schema
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.backoff import RELAY_BACKOFF
from app.core.outbox.events import Event, Recorded, UnreadableEvent, get_pending_events
from app.core.outbox.models import EventRow, RelayFailure
from app.core.outbox.subscriptions import AnySubscriber, Subscribers, get_handler_name

RELAY_RETRY = "RELAY_RETRY"
MAX_ERROR_LENGTH = 300  # characters

log = structlog.get_logger("tessera.relay")

_CHECK_TRANSACTION = text("SELECT 1")


async def call_subscriber(
    db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, events: Sequence[Recorded[Event]]
) -> Exception | None:
    """Pass a subscriber some events in a savepoint; return the error that it failed with.

    The events that a failed subscriber recorded are dropped with its savepoint. If the database is away or
    not migrated, the subscriber has not failed: the error is raised.
    """
    pending = get_pending_events(db)
    earlier = len(pending)
    try:
        async with db.begin_nested():
            await subscriber(db, org_id, events)
            await db.flush()
            await db.execute(_CHECK_TRANSACTION)  # fails if the subscriber has swallowed a database error
    except Exception as error:
        del pending[earlier:]
        if is_outage(error) or (lacks_schema(error) and await is_unmigrated(db)):
            raise
        log.warning("subscriber_failed", subscriber=get_handler_name(subscriber), org_id=str(org_id), exc_info=error)
        return error
    return None


async def store_failure(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, seq: int, error: Exception) -> None:
    """Store that a subscriber failed on an event, and set the timer that tries it again."""
    failure_id, now = new_id(), real_now()
    await db.execute(
        insert(RelayFailure).values(
            org_id=org_id, id=failure_id, seq=seq, subscriber=get_handler_name(subscriber), attempts=1,
            last_error=describe_error(error), created_at=now,
        )
    )  # fmt: skip
    await timers.set_timers(db, org_id, failure_id, {RELAY_RETRY: now + RELAY_BACKOFF.waits[0]})


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
        fired = await timers.delete_due(db, org_id, [d for d in due if d.subject_id in locked])
        for one in fired:
            await _retry(db, locked[one.subject_id], subscribers, one.at)
        return fired

    return handle


async def _retry(db: AsyncSession, failure: RelayFailure, subscribers: Subscribers, now: datetime) -> None:
    org_id = failure.org_id
    row = await db.get_one(EventRow, (org_id, failure.seq))
    # If the code no longer has the subscriber, the failure is deleted.
    matching_subscribers = [one for one in subscribers.find(row.type) if get_handler_name(one) == failure.subscriber]
    if matching_subscribers and (error := await _relay_row(db, org_id, matching_subscribers[0], row)):
        await _postpone(db, failure, error, now)
        return
    await db.execute(delete(RelayFailure).where(RelayFailure.org_id == org_id, RelayFailure.id == failure.id))


async def _relay_row(db: AsyncSession, org_id: UUID, subscriber: AnySubscriber, row: EventRow) -> Exception | None:
    try:
        event = Event.from_row(row)
    except UnreadableEvent as error:
        return error
    return await call_subscriber(db, org_id, subscriber, [event])


async def _postpone(db: AsyncSession, failure: RelayFailure, error: Exception, now: datetime) -> None:
    failure.attempts += 1
    failure.last_error = describe_error(error)
    if (wait := RELAY_BACKOFF.wait_after(failure.attempts)) is not None:
        await timers.set_timers(db, failure.org_id, failure.id, {RELAY_RETRY: now + wait})
        return
    failure.parked_at = now
    telemetry.EVENTS_PARKED.labels(failure.subscriber).inc()
    log.error(
        "event_parked", org_id=str(failure.org_id), seq=failure.seq, subscriber=failure.subscriber,
        error=failure.last_error,
    )  # fmt: skip


def describe_error(error: Exception) -> str:
    """Return the error's class and the first line of its message, shortened."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:MAX_ERROR_LENGTH]
