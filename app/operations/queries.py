"""Queries for operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import read_creation_time
from app.core.outbox.models import IS_DELIVERY, IS_NOT_DELIVERY, RelayFailure
from app.operations.models import JobRun


@dataclass(frozen=True)
class Backlog:
    """The pending work of all organisations."""

    events: int
    timers: int
    deliveries: int
    oldest_delivery_age: float  # seconds


# Reads only tables without row level security. A timer is deleted when it fires, so all rows are pending work.
# The ids of deliveries are in the order of creation (UUIDv7), so the smallest is the oldest.
_BACKLOG = text(
    f"""
    SELECT (SELECT coalesce(sum(greatest(counters.last_event - relays.last_seq, 0)), 0)::bigint
            FROM counters JOIN relays ON relays.org_id = counters.org_id) AS events,
           (SELECT count(*) FROM timers WHERE {IS_NOT_DELIVERY} AND due_at < :now) AS timers,
           (SELECT count(*) FROM timers WHERE {IS_DELIVERY}) AS deliveries,
           (SELECT subject_id FROM timers WHERE {IS_DELIVERY} ORDER BY subject_id LIMIT 1) AS oldest
    """  # noqa: S608 - constants
).columns(events=BigInteger, timers=BigInteger, deliveries=BigInteger, oldest=Uuid)


async def measure_backlog(db: AsyncSession, now: datetime) -> Backlog:
    """Count the work pending at `now` (real time)."""
    row = (await db.execute(_BACKLOG, {"now": now})).one()
    age = now.timestamp() - read_creation_time(row.oldest) if row.oldest else 0.0
    return Backlog(row.events, row.timers, row.deliveries, max(0.0, age))


async def count_parked_failures(db: AsyncSession, org_id: UUID) -> int:
    """Count the organisation's failures that are parked: a subscriber failed to handle an event at every attempt."""
    conditions = RelayFailure.org_id == org_id, RelayFailure.parked_at.is_not(None)
    return await db.scalar(select(func.count()).select_from(RelayFailure).where(*conditions)) or 0


async def list_job_runs(db: AsyncSession) -> Sequence[JobRun]:
    """List the last run of every scheduled job, sorted by name."""
    return (await db.scalars(select(JobRun).order_by(JobRun.name))).all()
