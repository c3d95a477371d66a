"""Decide what follows from an attempt to send a delivery, and record it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import DateTime, bindparam

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.backoff import Backoff
from app.core.outbox.channels import Outcome, Result
from app.core.outbox.delivery_claims import SET_TIMER, Claim, with_id
from app.core.outbox.models import DeliveryStatus

log = structlog.get_logger("tessera.deliveries")

# By id alone: see `SET_TIMER`.
_LOCK_TIMER = with_id("SELECT FROM timers WHERE org_id = :org_id AND subject_id = :id FOR NO KEY UPDATE")
_DELETE_TIMER = with_id("DELETE FROM timers WHERE org_id = :org_id AND subject_id = :id")
_RECORD = with_id(
    f"""
    UPDATE deliveries SET status = :status, last_error = :error, sent_at = :sent_at
    WHERE org_id = :org_id AND id = :id AND status = '{DeliveryStatus.QUEUED}'
    """  # noqa: S608 - a constant
).bindparams(bindparam("sent_at", type_=DateTime(timezone=True)))


@dataclass(frozen=True)
class FinishedAttempt:
    """An attempt with its outcome, the delivery's new status, and the wait before a retry (`None`: no retry)."""

    claim: Claim
    outcome: Outcome
    status: DeliveryStatus
    wait: timedelta | None = None

    @property
    def org_id(self) -> UUID:
        """The organisation of the delivery."""
        return self.claim.org_id


def decide_outcome(claim: Claim, outcome: Outcome, backoff: Backoff) -> FinishedAttempt:
    """Decide the delivery's status after an attempt. A temporary failure is final after the last attempt."""
    match outcome.result:
        case Result.SENT:
            return FinishedAttempt(claim, outcome, DeliveryStatus.SENT)
        case Result.TEMPORARY if (wait := backoff.wait_after(claim.attempt)) is not None:
            return FinishedAttempt(claim, outcome, DeliveryStatus.QUEUED, wait)
        case _:
            return FinishedAttempt(claim, outcome, DeliveryStatus.FAILED)


async def record_attempts(database: Database, org_id: UUID, attempts: Sequence[FinishedAttempt]) -> None:
    """Store the results of an organisation's attempts, count them in the metrics, and log failed deliveries."""
    if not attempts:
        return
    now = real_now()
    ordered = sorted(attempts, key=lambda one: one.claim.id)  # see `delivery_claims`
    ended = [{"org_id": org_id, "id": one.claim.id} for one in ordered if one.wait is None]
    postponed = [
        {"org_id": org_id, "id": one.claim.id, "due_at": now + one.wait} for one in ordered if one.wait is not None
    ]
    results = [
        {
            "org_id": org_id,
            "id": one.claim.id,
            "status": one.status.value,
            "error": one.outcome.error,
            "sent_at": now if one.status is DeliveryStatus.SENT else None,
        }
        for one in ordered
    ]
    async with database.session(org_id) as db:
        if ended and postponed:  # each alone locks in the order of ids
            await db.execute(_LOCK_TIMER, [{"org_id": org_id, "id": one.claim.id} for one in ordered])
        if ended:
            await db.execute(_DELETE_TIMER, ended)
        if postponed:
            await db.execute(SET_TIMER, postponed)
        await db.execute(_RECORD, results)
    for one in attempts:
        _report(one)


def _report(attempt: FinishedAttempt) -> None:
    claim, error = attempt.claim, attempt.outcome.error
    telemetry.DELIVERY_ATTEMPTS.labels(claim.lane.channel, attempt.outcome.result.value).inc()
    if attempt.status is not DeliveryStatus.QUEUED:
        telemetry.DELIVERIES_ENDED.labels(claim.lane.channel, attempt.status.value).inc()
    if attempt.status is DeliveryStatus.FAILED:
        log.warning("delivery_failed", delivery_id=str(claim.id), org_id=str(claim.org_id), error=error)
