"""Claim due deliveries and record the results of their attempts: the database's part of the worker's third loop.

No query plan depends on fresh statistics, since many deliveries may be added at once. A claim first reads ids in the
order of their index, and then rows by an array of ids through the primary key. The planner can use no other index for
that, because all other indexes of these tables are partial (see `Delivery`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.channels import Channels, Outcome
from app.core.outbox.models import DELIVER, DeliveryStatus

DELIVERIES_PER_BATCH = 50
LEASE_DURATION = timedelta(seconds=60)

log = structlog.get_logger("tessera.deliveries")


@dataclass(frozen=True)
class Claim:
    """A delivery that this worker has leased.

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
    WHERE org_id = :org_id AND kind = '{DELIVER}' AND due_at <= :now
    ORDER BY due_at LIMIT {DELIVERIES_PER_BATCH} FOR NO KEY UPDATE SKIP LOCKED
    """  # noqa: S608 - constants
).bindparams(bindparam("org_id", type_=Uuid))

# By id alone, without the kind: a delivery has only this timer, and the indexes by kind cannot find it by id.
_SET_LEASE = text(
    "UPDATE timers SET due_at = :lease_end WHERE org_id = :org_id AND subject_id = ANY (:ids)"
).bindparams(bindparam("org_id", type_=Uuid), bindparam("ids", type_=ARRAY(Uuid)))

_INCREMENT_ATTEMPTS = text(
    """
    UPDATE deliveries SET attempts = attempts + 1
    WHERE org_id = :org_id AND id = ANY (:ids) AND status = 'QUEUED'
    RETURNING id, channel, attempts
    """
).bindparams(bindparam("org_id", type_=Uuid), bindparam("ids", type_=ARRAY(Uuid)))


async def claim_deliveries(database: Database, org_id: UUID, channels: Channels) -> list[Claim]:
    """Lease an organisation's next batch of due deliveries and load their content; return them in the order of ids."""
    now = real_now()
    async with database.session(org_id) as db:
        await db.execute(_IN_INDEX_ORDER)
        ids = (await db.scalars(_DUE_IDS, {"org_id": org_id, "now": now})).all()
        if not ids:
            return []
        await db.execute(_SET_LEASE, {"org_id": org_id, "ids": ids, "lease_end": now + LEASE_DURATION})
        rows = (await db.execute(_INCREMENT_ATTEMPTS, {"org_id": org_id, "ids": ids})).all()
        messages: dict[UUID, Any] = {}
        for name in {row.channel for row in rows} & channels.keys():
            channel_ids = [row.id for row in rows if row.channel == name]
            messages |= await channels[name].load(db, org_id, channel_ids)
    claims = [Claim(row.id, row.channel, row.attempts, messages.get(row.id)) for row in rows]
    return sorted(claims, key=lambda one: one.id)


_DECREMENT_ATTEMPTS = text(
    "UPDATE deliveries SET attempts = attempts - 1 WHERE org_id = :org_id AND id = ANY (:ids)"
).bindparams(bindparam("org_id", type_=Uuid), bindparam("ids", type_=ARRAY(Uuid)))

_DELETE_TIMERS = text("DELETE FROM timers WHERE org_id = :org_id AND subject_id = ANY (:ids)").bindparams(
    bindparam("org_id", type_=Uuid), bindparam("ids", type_=ARRAY(Uuid))
)

_POSTPONE = text(
    """
    UPDATE timers SET due_at = postponed.due_at
    FROM unnest(:ids, :times) AS postponed (id, due_at)
    WHERE timers.org_id = :org_id AND timers.subject_id = ANY (:ids) AND timers.subject_id = postponed.id
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("times", type_=ARRAY(DateTime(timezone=True))),
)

_RECORD = text(
    """
    UPDATE deliveries SET status = ended.status, last_error = ended.error, sent_at = ended.sent_at
    FROM unnest(:ids, :statuses, :errors, :times) AS ended (id, status, error, sent_at)
    WHERE deliveries.org_id = :org_id AND deliveries.id = ANY (:ids) AND deliveries.id = ended.id
          AND deliveries.status = 'QUEUED'
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("statuses", type_=ARRAY(Text)),
    bindparam("errors", type_=ARRAY(Text)),
    bindparam("times", type_=ARRAY(DateTime(timezone=True))),
)


async def release_deliveries(database: Database, org_id: UUID, claims: Collection[Claim]) -> None:
    """End these leases and decrement the counts of attempts, because nothing was sent."""
    if not claims:
        return
    ids = [one.id for one in claims]
    async with database.session(org_id) as db:
        await db.execute(_SET_LEASE, {"org_id": org_id, "ids": ids, "lease_end": real_now()})
        await db.execute(_DECREMENT_ATTEMPTS, {"org_id": org_id, "ids": ids})


async def record_attempts(database: Database, org_id: UUID, attempts: Sequence[FinishedAttempt]) -> None:
    """Store the results of these attempts, count them in the metrics, and log failed deliveries."""
    if not attempts:
        return
    now = real_now()
    ended = [one.claim.id for one in attempts if one.wait is None]
    postponed = {one.claim.id: now + one.wait for one in attempts if one.wait is not None}
    async with database.session(org_id) as db:
        if ended:
            await db.execute(_DELETE_TIMERS, {"org_id": org_id, "ids": ended})
        if postponed:
            times = {"ids": list(postponed), "times": list(postponed.values())}
            await db.execute(_POSTPONE, {"org_id": org_id, **times})
        await db.execute(
            _RECORD,
            {
                "org_id": org_id,
                "ids": [one.claim.id for one in attempts],
                "statuses": [one.status.value for one in attempts],
                "errors": [one.outcome.error for one in attempts],
                "times": [now if one.status is DeliveryStatus.SENT else None for one in attempts],
            },
        )
    for one in attempts:
        _report(org_id, one)


def _report(org_id: UUID, attempt: FinishedAttempt) -> None:
    claim, error = attempt.claim, attempt.outcome.error
    telemetry.DELIVERY_ATTEMPTS.labels(claim.channel, attempt.outcome.result.value).inc()
    if attempt.status is not DeliveryStatus.QUEUED:
        telemetry.DELIVERIES_ENDED.labels(claim.channel, attempt.status.value).inc()
    if attempt.status is DeliveryStatus.FAILED:
        log.warning("delivery_failed", delivery_id=str(claim.id), org_id=str(org_id), error=error)
