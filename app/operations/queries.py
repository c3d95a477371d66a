"""Reads for those who run the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.ids import made_at
from app.core.outbox.models import RelayFailure
from app.operations.models import JobRun


@dataclass(frozen=True)
class Backlog:
    """What waits, over all organisations. The oldest delivery's age is in seconds."""

    events: int
    timers: int
    deliveries: int
    oldest_delivery: float


# Only tables without tenant data, whose rows are what waits: the timers of what is finished are gone.
_BACKLOG = text(
    """
    SELECT (SELECT coalesce(sum(greatest(counters.last_event - relays.last_seq, 0)), 0)::bigint
            FROM counters JOIN relays ON relays.org_id = counters.org_id) AS events,
           (SELECT count(*) FROM timers WHERE kind <> 'DELIVER' AND due_at < :now) AS timers,
           (SELECT count(*) FROM timers WHERE kind = 'DELIVER') AS deliveries,
           (SELECT subject_id FROM timers WHERE kind = 'DELIVER' ORDER BY subject_id LIMIT 1) AS oldest
    """
).columns(events=BigInteger, timers=BigInteger, deliveries=BigInteger, oldest=Uuid)


async def backlog(db: AsyncSession, now: datetime) -> Backlog:
    """What waits at `now` (real time)."""
    row = (await db.execute(_BACKLOG, {"now": now})).one()
    age = now.timestamp() - made_at(row.oldest) if row.oldest else 0.0
    return Backlog(row.events, row.timers, row.deliveries, max(0.0, age))


async def parked_events(db: AsyncSession, org_id: UUID) -> int:
    """How many of an organisation's events a subscriber failed on for good."""
    parked = RelayFailure.org_id == org_id, RelayFailure.parked_at.is_not(None)
    return await db.scalar(select(func.count()).select_from(RelayFailure).where(*parked)) or 0


async def job_runs(db: AsyncSession) -> Sequence[JobRun]:
    """When each of the scheduler's jobs ran last."""
    return (await db.scalars(select(JobRun).order_by(JobRun.name))).all()


async def schema_revision(db: AsyncSession) -> str | None:
    """The migration that the database is at; `None` where it was never migrated."""
    if await db.scalar(text("SELECT to_regclass('alembic_version')::text")) is None:
        return None
    revision: str | None = await db.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
