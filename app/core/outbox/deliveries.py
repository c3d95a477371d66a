"""What leaves the house: one row per message, sent by the worker's third loop, outside any transaction.

A delivery's next attempt is a timer of kind `DELIVER`. Claiming leases it (it comes due again later, so that a killed
worker's claim comes back); then the channel sends; then the outcome is recorded. The id is made with the row and stays
the same over all attempts, so a receiver can recognise a second copy.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy import DateTime, Text, Uuid, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database, has_work
from app.core.ids import new_id
from app.core.outbox.models import DELIVER, Delivery, Timer
from app.core.outbox.timers import due_organisations_sql, in_turn

BATCH = 50
LEASE = timedelta(seconds=60)
# A batch begins no further message after this time; with the 30 s that one may take, it ends before its lease does.
SENDING_TIME = 20.0  # seconds
RECORD_AGAIN = 0.5  # seconds
RECORD_EVERY = 0.05  # seconds
RETRY_AFTER = tuple(timedelta(seconds=seconds) for seconds in (30, 2 * 60, 10 * 60, 3600, 4 * 3600, 12 * 3600))
JITTER = 0.2

log = structlog.get_logger("tessera.deliveries")


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a channel sends. `id` is the delivery's, the same at every attempt."""

    org_id: UUID
    id: UUID
    channel: str
    recipient: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None
    link: str | None = None
    link_id: UUID | None = None
    ticket_id: UUID | None = None
    created_at: datetime
    attempt: int = 1


class Result(StrEnum):
    """How one attempt ended."""

    SENT = "SENT"
    TEMPORARY = "TEMPORARY"  # the same message may get through later
    PERMANENT = "PERMANENT"  # it never will


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt; `error` is for users to read and holds no secret."""

    result: Result
    error: str | None = None


class Sender(Protocol):
    """An open channel. It reports every failure as an outcome and raises nothing."""

    async def send(self, message: Message) -> Outcome:
        """Try once to hand the message over; takes 30 s at most."""
        ...


# Opens a channel for as long as a pass of the loop takes, so that one connection serves many messages.
Channel = Callable[[], AbstractAsyncContextManager[Sender]]
Channels = Mapping[str, Channel]


@dataclass(frozen=True)
class Draft:
    """A message to be queued. With `error` it is kept as a failed delivery, visible and never tried.

    `link` and `link_id` are of a text with a link that ends in a token: the channel completes it.
    """

    channel: str
    recipient: str
    subject: str
    text: str = ""
    html: str | None = None
    reply_to: str | None = None
    link: str | None = None
    link_id: UUID | None = None
    ticket_id: UUID | None = None
    user_id: UUID | None = None
    author_id: UUID | None = None
    error: str | None = None
    id: UUID = field(default_factory=new_id)


async def queue(db: AsyncSession, org_id: UUID, drafts: Sequence[Draft]) -> None:
    """Add deliveries, due at once."""
    if not drafts:
        return
    now = real_now()
    has_work(db)
    await db.execute(
        insert(Delivery),
        [
            {
                "org_id": org_id,
                "id": draft.id,
                "channel": draft.channel,
                "recipient": draft.recipient,
                "subject": draft.subject,
                "body_text": draft.text,
                "body_html": draft.html,
                "reply_to": draft.reply_to,
                "link": draft.link,
                "link_id": draft.link_id,
                "ticket_id": draft.ticket_id,
                "user_id": draft.user_id,
                "author_id": draft.author_id,
                "status": DeliveryStatus.FAILED if draft.error else DeliveryStatus.QUEUED,
                "last_error": draft.error,
                "created_at": now,
            }
            for draft in drafts
        ],
    )
    timers = [
        {"org_id": org_id, "subject_id": draft.id, "kind": DELIVER, "due_at": now}
        for draft in drafts
        if not draft.error
    ]
    if timers:
        await db.execute(insert(Timer), timers)


_DUE_ORGANISATIONS = text(due_organisations_sql(f"kind = '{DELIVER}'"))

# By name, so that a column that a later version adds does not shift the others.
_COLUMNS = ", ".join(f"deliveries.{column.name}" for column in Delivery.__table__.columns)

_CLAIM = text(
    f"""
    WITH due AS (
        SELECT subject_id FROM timers
        WHERE org_id = :org_id AND kind = 'DELIVER' AND due_at <= :now
        ORDER BY due_at LIMIT :batch FOR NO KEY UPDATE SKIP LOCKED
    ), leased AS (
        UPDATE timers SET due_at = :lease_end FROM due
        WHERE timers.org_id = :org_id AND timers.kind = 'DELIVER' AND timers.subject_id = due.subject_id
        RETURNING timers.subject_id
    )
    UPDATE deliveries SET attempts = attempts + 1 FROM leased
    WHERE deliveries.org_id = :org_id AND deliveries.id = leased.subject_id AND deliveries.status = 'QUEUED'
    RETURNING {_COLUMNS}
    """  # noqa: S608 - the names of columns
).columns(*(column for column in Delivery.__table__.columns))


async def deliver_due(database: Database, channels: Channels, stopping: Callable[[], bool] = bool) -> int:
    """Send what is due, one batch per organisation in turn, until nothing is; returns how many attempts were made.

    Args:
        stopping: asked between messages; once it is true, what was claimed and not sent is given back.
    """
    total = 0
    while attempts := await _deliver_round(database, channels, stopping):
        total += attempts
    return total


async def _deliver_round(database: Database, channels: Channels, stopping: Callable[[], bool]) -> int:
    """A batch of each organisation's, over one connection per channel."""
    async with database.session(None) as db:
        organisations = (await db.scalars(_DUE_ORGANISATIONS, {"now": real_now()})).all()
    async with AsyncExitStack() as stack:
        senders: dict[str, Sender] = {}

        async def serve(org_id: UUID) -> int:
            messages = await _claim(database, org_id)
            for name in {m.channel for m in messages} & channels.keys() - senders.keys():
                senders[name] = await stack.enter_async_context(channels[name]())
            await _send(database, org_id, messages, senders, stopping)
            return len(messages)

        return await in_turn(organisations, serve, stopping)


async def _claim(database: Database, org_id: UUID) -> list[Message]:
    now = real_now()
    async with database.session(org_id) as db:
        rows = await db.execute(_CLAIM, {"org_id": org_id, "now": now, "batch": BATCH, "lease_end": now + LEASE})
        messages = [
            Message(
                org_id=org_id,
                id=row.id,
                channel=row.channel,
                recipient=row.recipient,
                subject=row.subject,
                text=row.body_text,
                html=row.body_html,
                reply_to=row.reply_to,
                link=row.link,
                link_id=row.link_id,
                ticket_id=row.ticket_id,
                created_at=row.created_at,
                attempt=row.attempts,
            )
            for row in rows
        ]
    return sorted(messages, key=lambda message: message.id)


async def _send(
    database: Database,
    org_id: UUID,
    messages: Sequence[Message],
    senders: Mapping[str, Sender],
    stopping: Callable[[], bool],
) -> None:
    """Send a claimed batch, recording outcomes as they come: a crash repeats only the last few."""
    started = recorded = time.monotonic()
    waiting, outcomes = deque(messages), list[tuple[Message, Outcome]]()
    try:
        while waiting and not stopping() and time.monotonic() - started <= SENDING_TIME:
            message = waiting.popleft()
            outcomes.append((message, await _attempt(message, senders)))
            if time.monotonic() - recorded > RECORD_EVERY:
                await _record_surely(database, org_id, outcomes)
                outcomes, recorded = [], time.monotonic()
    except BaseException:
        # Stopped in the middle of a message: those before it must not be sent again, those after it need not wait.
        with suppress(Exception):
            await _record(database, org_id, outcomes)
            await _give_back(database, org_id, waiting)
        raise
    await _record_surely(database, org_id, outcomes)
    await _give_back(database, org_id, waiting)


async def _attempt(message: Message, senders: Mapping[str, Sender]) -> Outcome:
    sender = senders.get(message.channel)
    if sender is None:  # another version's, while both are running
        return Outcome(Result.TEMPORARY, f"This worker has no channel {message.channel}")
    return await sender.send(message)


async def _give_back(database: Database, org_id: UUID, messages: Collection[Message]) -> None:
    if not messages:
        return
    ids = [message.id for message in messages]
    async with database.session(org_id) as db:
        await db.execute(
            update(Timer)
            .where(Timer.org_id == org_id, Timer.kind == DELIVER, Timer.subject_id.in_(ids))
            .values(due_at=real_now())
        )
        await db.execute(
            update(Delivery)
            .where(Delivery.org_id == org_id, Delivery.id.in_(ids))
            .values(attempts=Delivery.attempts - 1)
        )


async def _record_surely(database: Database, org_id: UUID, outcomes: Sequence[tuple[Message, Outcome]]) -> None:
    """Record what was sent even if the database is away for a moment: otherwise it would be sent again."""
    give_up_at = time.monotonic() + LEASE.total_seconds()
    while True:
        try:
            return await _record(database, org_id, outcomes)
        except Exception:
            if time.monotonic() > give_up_at:
                raise
            log.warning("outcomes_not_recorded", org_id=str(org_id), exc_info=True)
            await asyncio.sleep(RECORD_AGAIN)


_RECORD = text(
    """
    UPDATE deliveries SET status = o.status, last_error = o.error, sent_at = o.sent_at
    FROM unnest(:ids, :statuses, :errors, :times) AS o (id, status, error, sent_at)
    WHERE deliveries.org_id = :org_id AND deliveries.id = o.id AND deliveries.status = 'QUEUED'
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("statuses", type_=ARRAY(Text)),
    bindparam("errors", type_=ARRAY(Text)),
    bindparam("times", type_=ARRAY(DateTime(timezone=True))),
)


async def _record(database: Database, org_id: UUID, outcomes: Sequence[tuple[Message, Outcome]]) -> None:
    if not outcomes:
        return
    now = real_now()
    verdicts = [(message, outcome, verdict(message, outcome)) for message, outcome in outcomes]
    retries: dict[UUID, datetime] = {
        message.id: now + retry_after(message.attempt)
        for message, _, status in verdicts
        if status is DeliveryStatus.QUEUED
    }
    finished = [message.id for message, _, status in verdicts if status is not DeliveryStatus.QUEUED]
    async with database.session(org_id) as db:
        which = (Timer.org_id == org_id, Timer.kind == DELIVER)
        if finished:
            await db.execute(delete(Timer).where(*which, Timer.subject_id.in_(finished)))
        for delivery_id, due_at in retries.items():
            await db.execute(update(Timer).where(*which, Timer.subject_id == delivery_id).values(due_at=due_at))
        await db.execute(
            _RECORD,
            {
                "org_id": org_id,
                "ids": [message.id for message, _, _ in verdicts],
                "statuses": [status.value for _, _, status in verdicts],
                "errors": [outcome.error for _, outcome, _ in verdicts],
                "times": [now if status is DeliveryStatus.SENT else None for _, _, status in verdicts],
            },
        )
    for message, outcome, status in verdicts:
        telemetry.DELIVERY_ATTEMPTS.labels(message.channel, outcome.result.value).inc()
        if status is not DeliveryStatus.QUEUED:
            telemetry.DELIVERIES_ENDED.labels(message.channel, status.value).inc()
        if status is DeliveryStatus.FAILED:
            log.warning("delivery_failed", delivery_id=str(message.id), org_id=str(org_id), error=outcome.error)


def verdict(message: Message, outcome: Outcome) -> DeliveryStatus:
    """What an attempt makes of the delivery: a temporary failure is final once the waits are used up."""
    match outcome.result:
        case Result.SENT:
            return DeliveryStatus.SENT
        case Result.TEMPORARY if message.attempt <= len(RETRY_AFTER):
            return DeliveryStatus.QUEUED
        case _:
            return DeliveryStatus.FAILED


def retry_after(attempt: int) -> timedelta:
    """How long to wait after the given attempt (1, 2, …), with up to 20 % of jitter so that retries spread out."""
    return RETRY_AFTER[attempt - 1] * (1 + random.uniform(0, JITTER))  # noqa: S311 - nothing secret about it


async def delete_old(db: AsyncSession, org_id: UUID, before: datetime, *, batch: int = 1000) -> int:
    """Delete deliveries that ended and were made before `before`; returns how many, at most a batch."""
    old = (
        select(Delivery.id)
        .where(Delivery.org_id == org_id, Delivery.status != DeliveryStatus.QUEUED, Delivery.created_at < before)
        .order_by(Delivery.created_at)
        .limit(batch)
    )
    deleted = await db.scalars(
        delete(Delivery).where(Delivery.org_id == org_id, Delivery.id.in_(old)).returning(Delivery.id)
    )
    return len(deleted.all())
