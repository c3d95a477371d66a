"""Timers that ring bells: setting and reading them, and a handler that remembers them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.models import Timer
from app.core.outbox.timers import Due
from tests.databases import ensure_counter

RING, CHIME = "RING", "CHIME"
SECOND = timedelta(seconds=1)


@dataclass
class Bell:
    """A handler that remembers its timers and batches. It can fail, or leave subjects out as if they were locked."""

    rung: list[tuple[UUID, UUID]] = field(default_factory=list)
    batches: list[tuple[UUID, int]] = field(default_factory=list)
    failing: set[UUID] = field(default_factory=set)
    busy: set[UUID] = field(default_factory=set)
    pause: float = 0.0  # seconds

    async def __call__(self, db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
        fired = await timers.delete_due(db, org_id, [one for one in due if one.subject_id not in self.busy])
        await asyncio.sleep(self.pause)
        if any(one.subject_id in self.failing for one in fired):
            raise ArithmeticError
        self.rung.extend((org_id, one.subject_id) for one in fired)
        self.batches.append((org_id, len(fired)))
        return fired

    def subjects(self) -> list[UUID]:
        return [subject for _, subject in self.rung]


async def set_timer(
    database: Database, org_id: UUID, *, ago: timedelta = SECOND, kind: str = RING, subject: UUID | None = None
) -> UUID:
    subject = subject or uuid4()
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        await timers.set_timers(db, org_id, subject, {kind: real_now() - ago})
    return subject


async def set_many_timers(database: Database, org_id: UUID, count: int, kind: str = RING) -> list[UUID]:
    subjects, now = [uuid4() for _ in range(count)], real_now() - timedelta(hours=1)
    rows = [
        {"org_id": org_id, "subject_id": subject, "kind": kind, "due_at": now + timedelta(milliseconds=place)}
        for place, subject in enumerate(subjects)
    ]
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        await db.execute(insert(Timer), rows)
    return subjects


async def read_timers(database: Database, org_id: UUID) -> dict[UUID, Timer]:
    async with database.session(org_id) as db:
        return {timer.subject_id: timer for timer in await db.scalars(select(Timer).where(Timer.org_id == org_id))}
