"""The worker's job `deliver`: send the messages that are due, outside any transaction.

A delivery is one outgoing message: its channel, its lane, its status and its outcome. Deliveries of a channel to one
destination share a lane, which limits how many of them run at the same time. The channel stores the content. The
next attempt is a timer of kind `DELIVER`. A worker first claims the delivery: it moves the timer to the end of a lease,
so that the delivery of a killed worker comes due again. Then the channel sends the message, and the outcome is
recorded. A delivery keeps its id over all attempts, so a receiver can recognise a second copy.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete, insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.database.pool import Database, wake_worker_after_commit
from app.core.outbox import delivery_claims
from app.core.outbox.backoff import DELIVERY_BACKOFF, Backoff
from app.core.outbox.channels import ChannelPolicy, Channels, Outcome, Result, Sender
from app.core.outbox.delivery_claims import LEASE_DURATION, Claim, FinishedAttempt
from app.core.outbox.models import DELIVER, IS_DELIVERY, Delivery, DeliveryStatus, Timer
from app.core.outbox.timers import serve_each, write_due_organisations_query

# A batch starts no further message after this time. One message may take 30 s, so the batch ends before its lease.
MAX_SENDING_TIME = 20.0  # seconds
RECORD_RETRY_DELAY = 0.5  # seconds
RECORD_INTERVAL = 0.05  # seconds

log = structlog.get_logger("tessera.deliveries")


@dataclass(frozen=True, kw_only=True)
class NewDelivery:
    """A message to queue. `destination` determines its lane and is not stored.

    With `error`, it is stored as a failed delivery: listed with its error, and never attempted.
    """

    id: UUID
    destination: str
    error: str | None = None


async def queue(
    db: AsyncSession, org_id: UUID, policy: ChannelPolicy, messages: Sequence[NewDelivery], *, now: datetime
) -> None:
    """Add deliveries of a channel, due at `now`. The caller adds their content in the same transaction."""
    if not messages:
        return
    wake_worker_after_commit(db)
    await db.execute(
        insert(Delivery),
        [
            {
                "org_id": org_id,
                "id": message.id,
                "channel": policy.name,
                "lane": policy.get_lane(message.destination),
                "status": DeliveryStatus.FAILED if message.error else DeliveryStatus.QUEUED,
                "last_error": message.error,
                "created_at": now,
            }
            for message in messages
        ],
    )
    timers = [
        {"org_id": org_id, "subject_id": message.id, "kind": DELIVER, "due_at": now}
        for message in messages
        if not message.error
    ]
    if timers:
        await db.execute(insert(Timer), timers)


# --- sending ---------------------------------------------------------------------------------------------------------

_DUE_ORGANISATIONS = text(write_due_organisations_query(IS_DELIVERY))


async def deliver_due(database: Database, channels: Channels, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send due deliveries, one batch per organisation in turn, until none are due; return the number of attempts.

    Args:
        stopping: called between messages; once it returns true, claimed deliveries that were not sent are released.
    """
    total = 0
    while attempts := await _deliver_round(database, channels, stopping):
        total += attempts
    return total


async def _deliver_round(database: Database, channels: Channels, stopping: Callable[[], bool]) -> int:
    """Send one batch of each organisation, over one connection per channel."""
    async with database.session(None) as db:
        organisations = (await db.scalars(_DUE_ORGANISATIONS, {"now": real_now()})).all()
    async with AsyncExitStack() as stack:
        senders: dict[str, Sender[Any]] = {}

        async def serve(org_id: UUID) -> int:
            claimed = await delivery_claims.claim_deliveries(database, org_id, channels)
            for name in {one.channel for one in claimed} & (channels.keys() - senders.keys()):  # opens each once
                senders[name] = await stack.enter_async_context(channels[name].open())
            await _Batch(database, org_id, channels, senders).send(claimed, stopping)
            return len(claimed)

        return await serve_each(organisations, serve, stopping)


@dataclass(frozen=True)
class _Batch:
    """Sends the claimed deliveries of one organisation."""

    database: Database
    org_id: UUID
    channels: Channels
    senders: dict[str, Sender[Any]]

    async def send(self, claimed: Sequence[Claim], stopping: Callable[[], bool]) -> None:
        """Send a claimed batch, recording outcomes at short intervals: a crash repeats only the last few messages."""
        started = recorded = time.monotonic()
        waiting, finished = deque(claimed), list[FinishedAttempt]()
        try:
            while waiting and not stopping() and time.monotonic() - started <= MAX_SENDING_TIME:
                finished.append(await self._attempt(waiting.popleft()))
                if time.monotonic() - recorded > RECORD_INTERVAL:
                    await self._record_reliably(finished)
                    finished, recorded = [], time.monotonic()
        except BaseException:
            # Cancelled in the middle of a message: earlier ones must not be sent again, later ones need not wait.
            with suppress(Exception):
                await delivery_claims.record_attempts(self.database, self.org_id, finished)
                await delivery_claims.release_deliveries(self.database, self.org_id, waiting)
            raise
        await self._record_reliably(finished)
        await delivery_claims.release_deliveries(self.database, self.org_id, waiting)

    async def _attempt(self, one: Claim) -> FinishedAttempt:
        sender = self.senders.get(one.channel)
        if sender is None:  # queued by another version of the code, while both are running
            outcome = Outcome(Result.TEMPORARY, f"This worker has no channel {one.channel}")
            return decide_outcome(one, outcome, DELIVERY_BACKOFF)
        if one.message is None:
            return decide_outcome(one, Outcome(Result.PERMANENT, "The message has no content"), DELIVERY_BACKOFF)
        return decide_outcome(one, await sender.send(one.message), self.channels[one.channel].policy.backoff)

    async def _record_reliably(self, attempts: Sequence[FinishedAttempt]) -> None:
        """Record attempts, and retry while the database is unavailable: otherwise the messages would be sent again."""
        give_up_at = time.monotonic() + LEASE_DURATION.total_seconds()
        while True:
            try:
                return await delivery_claims.record_attempts(self.database, self.org_id, attempts)
            except Exception:
                if time.monotonic() > give_up_at:
                    raise
                log.warning("outcomes_not_recorded", org_id=str(self.org_id), exc_info=True)
                await asyncio.sleep(RECORD_RETRY_DELAY)


def decide_outcome(claim: Claim, outcome: Outcome, backoff: Backoff) -> FinishedAttempt:
    """Decide the delivery's status after an attempt. A temporary failure is final after the last attempt."""
    match outcome.result:
        case Result.SENT:
            return FinishedAttempt(claim, outcome, DeliveryStatus.SENT)
        case Result.TEMPORARY if (wait := backoff.wait_after(claim.attempt)) is not None:
            return FinishedAttempt(claim, outcome, DeliveryStatus.QUEUED, wait)
        case _:
            return FinishedAttempt(claim, outcome, DeliveryStatus.FAILED)


# --- housekeeping ----------------------------------------------------------------------------------------------------


async def delete_old(db: AsyncSession, org_id: UUID, channels: Channels, before: datetime, *, batch: int = 1000) -> int:
    """Delete finished deliveries that were created before `before`, with their content.

    Returns:
        The number of deleted deliveries: at most `batch` for each channel.
    """
    deleted = 0
    for name, channel in channels.items():
        old = (
            select(Delivery.id)
            .where(Delivery.org_id == org_id, Delivery.channel == name, Delivery.created_at < before)
            .where(Delivery.status != DeliveryStatus.QUEUED)
            .order_by(Delivery.created_at, Delivery.id)
            .limit(batch)
        )
        if ids := (await db.scalars(old)).all():
            await channel.delete(db, org_id, ids)
            await db.execute(delete(Delivery).where(Delivery.org_id == org_id, Delivery.id.in_(ids)))
        deleted += len(ids)
    return deleted
