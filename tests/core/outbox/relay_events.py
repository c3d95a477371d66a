"""Events of the tests of the relay, a subscriber to them, and what became of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar
from uuid import UUID, uuid4

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, Event, Recorded, record
from app.core.outbox.models import RelayFailure, Timer
from app.core.outbox.relay_retries import RELAY_RETRY, make_retry_handler
from app.core.outbox.subscriptions import Subscribers

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Visit(Event):
    """The base of the events of this file."""

    n: int


@dataclass(frozen=True, kw_only=True)
class Knocked(Visit):
    type: ClassVar[str] = "test_relay.knocked"


@dataclass(frozen=True, kw_only=True)
class Rang(Visit):
    type: ClassVar[str] = "test_relay.rang"


@dataclass
class Listener:
    """A subscriber that also writes the numbers of its events as timers, which a rollback removes."""

    failing: set[int] = field(default_factory=set)
    received: list[int] = field(default_factory=list)
    batches: list[tuple[UUID, int]] = field(default_factory=list)
    pause: float = 0.0  # seconds
    name: str = "listen"

    def __post_init__(self) -> None:
        self.__name__ = self.name

    def __hash__(self) -> int:
        return id(self)

    async def __call__(self, db: AsyncSession, org_id: UUID, events: Sequence[Recorded[Visit]]) -> None:
        await asyncio.sleep(self.pause)
        numbers = [recorded.event.n for recorded in events]
        self.received.extend(numbers)
        await timers.set_timers(db, org_id, uuid4(), {f"{self.name} {n}": real_now() for n in numbers})
        if failing := self.failing & set(numbers):
            raise ArithmeticError(f"cannot handle {failing}\nand more")
        self.batches.append((org_id, len(events)))


async def read_written_numbers(database: Database, org_id: UUID, name: str = "listen") -> Counter[int]:
    """Return the numbers that the subscriber's committed transactions have written."""
    async with database.session(org_id) as db:
        kinds = await db.scalars(select(Timer.kind).where(Timer.org_id == org_id, Timer.kind.like(f"{name} %")))
        return Counter(int(kind.split()[1]) for kind in kinds)


async def knock(database: Database, org_id: UUID, *numbers: int, kind: type[Visit] = Knocked) -> None:
    async with database.session(org_id) as db:
        record(db, *(kind(at=real_now(), actor=SYSTEM, n=n) for n in numbers))


async def read_failures(database: Database, org_id: UUID) -> list[RelayFailure]:
    async with database.session(org_id) as db:
        found = select(RelayFailure).where(RelayFailure.org_id == org_id).order_by(RelayFailure.seq)
        return list(await db.scalars(found))


async def read_retry_timers(database: Database, org_id: UUID) -> list[Timer]:
    async with database.session(org_id) as db:
        return list(await db.scalars(select(Timer).where(Timer.org_id == org_id, Timer.kind == RELAY_RETRY)))


async def retry_now(database: Database, org_id: UUID, subscribers: Subscribers) -> None:
    """Retry failed events without waiting for their timers."""
    async with database.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.kind == RELAY_RETRY)
        await db.execute(update(Timer).where(*conditions).values(due_at=real_now() - SECOND))
    with capture_logs():
        await timers.run_due(database, {RELAY_RETRY: make_retry_handler(subscribers)})
