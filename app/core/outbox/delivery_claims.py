"""Claim due deliveries and record the results of their attempts: the database's part of the worker's job `deliver`.

No query plan depends on fresh statistics, since many deliveries may be added at once. A claim first reads ids in the
order of their index. After that, each row is read and written by its own id, in one round trip for all: with an array
of ids and outdated statistics, the planner may prefer to read all rows of the organisation. For one id, the planner can
only use the primary key, because all other indexes of these tables are partial (see `Delivery`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import DateTime, TextClause, Uuid, bindparam, text

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.lookups import select_by_ids
from app.core.database.pool import Database
from app.core.outbox.channels import Channels, Outcome
from app.core.outbox.models import IS_DELIVERY, Delivery, DeliveryStatus

DELIVERIES_PER_BATCH = 50
LEASE_DURATION = timedelta(seconds=60)

log = structlog.get_logger("tessera.deliveries")


@dataclass(frozen=True)
class Claim:
    """A delivery that this worker has claimed.

    `attempt` counts from 1. `message` is what the channel loaded; `None` if it found nothing, or if this worker does
    not have the channel.
    """

    id: UUID
    channel: str
    attempt: int
    message: Any  # of the type that the channel's sender takes


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt with its outcome, the delivery's new status, and the wait before a retry (`None`: no retry)."""

    claim: Claim
    outcome: Outcome
    status: DeliveryStatus
    wait: timedelta | None = None


# Otherwise, if old statistics say that the organisation has few timers, the planner reads and sorts all due ones.
_IN_INDEX_ORDER = text("SET LOCAL enable_sort = off")

_DUE_IDS = text(
    f"""
    SELECT subject_id FROM timers
    WHERE org_id = :org_id AND {IS_DELIVERY} AND due_at <= :now
    ORDER BY due_at LIMIT {DELIVERIES_PER_BATCH} FOR NO KEY UPDATE SKIP LOCKED
    """  # noqa: S608 - constants
).bindparams(bindparam("org_id", type_=Uuid))

_CLAIMED = (Delivery.id, Delivery.channel, Delivery.attempts, Delivery.status)


def _with_id(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("org_id", type_=Uuid), bindparam("id", type_=Uuid))


# By id alone, without the kind: a delivery has only this timer, and the indexes by kind cannot find it by id.
_SET_TIMER = _with_id("UPDATE timers SET due_at = :due_at WHERE org_id = :org_id AND subject_id = :id")
_DELETE_TIMER = _with_id("DELETE FROM timers WHERE org_id = :org_id AND subject_id = :id")
_INCREMENT_ATTEMPTS = _with_id(
    f"""
    UPDATE deliveries SET attempts = attempts + 1
    WHERE org_id = :org_id AND id = :id AND status = '{DeliveryStatus.QUEUED}'
    """  # noqa: S608 - a constant
)
_DECREMENT_ATTEMPTS = _with_id("UPDATE deliveries SET attempts = attempts - 1 WHERE org_id = :org_id AND id = :id")
_RECORD = _with_id(
    f"""
    UPDATE deliveries SET status = :status, last_error = :error, sent_at = :sent_at
    WHERE org_id = :org_id AND id = :id AND status = '{DeliveryStatus.QUEUED}'
    """  # noqa: S608 - a constant
).bindparams(bindparam("sent_at", type_=DateTime(timezone=True)))


async def claim_deliveries(database: Database, org_id: UUID, channels: Channels) -> list[Claim]:
    """Claim an organisation's next batch of due deliveries and load their content; return them in the order of ids."""
    now = real_now()
    async with database.session(org_id) as db:
        await db.execute(_IN_INDEX_ORDER)
        ids = (await db.scalars(_DUE_IDS, {"org_id": org_id, "now": now})).all()
        if not ids:
            return []
        lease_end = now + LEASE_DURATION
        await db.execute(_SET_TIMER, [{"org_id": org_id, "id": one, "due_at": lease_end} for one in ids])
        await db.execute(_INCREMENT_ATTEMPTS, [{"org_id": org_id, "id": one} for one in ids])
        found = await db.execute(select_by_ids(Delivery, org_id, ids, _CLAIMED))
        rows = [row for row in found if row.status is DeliveryStatus.QUEUED]
        messages: dict[UUID, Any] = {}
        for name in {row.channel for row in rows} & channels.keys():
            channel_ids = [row.id for row in rows if row.channel == name]
            messages |= await channels[name].load(db, org_id, channel_ids)
    claims = [Claim(row.id, row.channel, row.attempts, messages.get(row.id)) for row in rows]
    return sorted(claims, key=lambda one: one.id)


async def release_deliveries(database: Database, org_id: UUID, claims: Collection[Claim]) -> None:
    """Release these claims and decrement the counts of attempts, because nothing was sent."""
    if not claims:
        return
    now = real_now()
    async with database.session(org_id) as db:
        await db.execute(_SET_TIMER, [{"org_id": org_id, "id": one.id, "due_at": now} for one in claims])
        await db.execute(_DECREMENT_ATTEMPTS, [{"org_id": org_id, "id": one.id} for one in claims])


async def record_attempts(database: Database, org_id: UUID, attempts: Sequence[FinishedAttempt]) -> None:
    """Store the results of these attempts, count them in the metrics, and log failed deliveries."""
    if not attempts:
        return
    now = real_now()
    ended = [{"org_id": org_id, "id": one.claim.id} for one in attempts if one.wait is None]
    postponed = [
        {"org_id": org_id, "id": one.claim.id, "due_at": now + one.wait} for one in attempts if one.wait is not None
    ]
    results = [
        {
            "org_id": org_id,
            "id": one.claim.id,
            "status": one.status.value,
            "error": one.outcome.error,
            "sent_at": now if one.status is DeliveryStatus.SENT else None,
        }
        for one in attempts
    ]
    async with database.session(org_id) as db:
        if ended:
            await db.execute(_DELETE_TIMER, ended)
        if postponed:
            await db.execute(_SET_TIMER, postponed)
        await db.execute(_RECORD, results)
    for one in attempts:
        _report(org_id, one)


def _report(org_id: UUID, attempt: FinishedAttempt) -> None:
    claim, error = attempt.claim, attempt.outcome.error
    telemetry.DELIVERY_ATTEMPTS.labels(claim.channel, attempt.outcome.result.value).inc()
    if attempt.status is not DeliveryStatus.QUEUED:
        telemetry.DELIVERIES_ENDED.labels(claim.channel, attempt.status.value).inc()
    if attempt.status is DeliveryStatus.FAILED:
        log.warning("delivery_failed", delivery_id=str(claim.id), org_id=str(org_id), error=error)
