"""How a transaction ends: reactions run, then its events are numbered and dated, then they are written.

The organisation's counter row is locked from the numbering to the commit. So numbers are dense and in commit order, and
a reader that asks for `seq > N` never misses an event. Times follow the same order: each is later than all times of the
commits before, and a reader that asks for `updatedAfter` misses nothing either.

The lock is the last one that a transaction takes, which is why it cannot deadlock: what is written after it
(`DatedRow`, `Dated`) is locked by the transaction already, so no statement waits while the counter is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Interval, Table, Uuid, bindparam, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import has_work
from app.core.ids import new_id
from app.core.outbox.events import Event, Recorded, pending
from app.core.outbox.models import DatedRow, EventRow
from app.core.outbox.subscriptions import Reactions, Subscribers

TICK = timedelta(microseconds=1)  # the resolution of a stored time

# `before` waits for the row's lock and sees its latest version, and so does the update.
_COUNT = text(
    """
    WITH before AS MATERIALIZED (
        SELECT last_at FROM counters WHERE org_id = :org_id FOR NO KEY UPDATE
    )
    UPDATE counters SET last_event = last_event + :events, last_at = greatest(:latest, counters.last_at + :span)
    FROM before WHERE counters.org_id = :org_id
    RETURNING last_event - :events AS last_event, before.last_at
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("events", type_=BigInteger),
    bindparam("latest", type_=DateTime(timezone=True)),
    bindparam("span", type_=Interval),
)


class Numbering:
    """What the pool does before a session commits (`before_commit`).

    Args:
        reactions: what happens in the same transaction as an event.
        dated: gives rows the time of their event. It is called under the counter's lock: it may write rows that the
            transaction has locked before, and nothing else.
    """

    def __init__(self, reactions: Reactions | None = None, dated: Subscribers | None = None) -> None:
        self.reactions = reactions or Reactions()
        self.dated = dated or Subscribers()

    async def __call__(self, db: AsyncSession, org_id: UUID | None) -> None:
        """Run the reactions to the recorded events, then write the events. May be called again for later ones."""
        events = pending(db)
        if not events:
            return
        assert org_id is not None
        await self._react(db, org_id, events)
        has_work(db)
        if any(not isinstance(row, DatedRow) for row in chain(db.new, db.dirty, db.deleted)):
            await db.flush()
        recorded = await _number(db, org_id, events)
        await self._date(db, org_id, recorded)
        await db.flush()
        await _write(db, recorded)
        events.clear()

    async def _react(self, db: AsyncSession, org_id: UUID, events: list[Event]) -> None:
        seen = 0
        while seen < len(events):  # a reaction may record further events
            event = events[seen]
            seen += 1
            for react in self.reactions.to(event):
                await react(db, org_id, event)

    async def _date(self, db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[Event]]) -> None:
        shares: dict[Any, list[Recorded[Event]]] = {}
        for one in recorded:
            for give_date in self.dated.to(one.event.type):
                shares.setdefault(give_date, []).append(one)
        for give_date, theirs in shares.items():
            await give_date(db, org_id, theirs)


async def _number(db: AsyncSession, org_id: UUID, events: Sequence[Event]) -> list[Recorded[Event]]:
    """Take the counter's row, and give each event its number and time."""
    earliest = moments(events, datetime.min.replace(tzinfo=events[0].at.tzinfo))
    parameters = {
        "org_id": org_id,
        "events": len(events),
        "latest": earliest[-1],
        "span": TICK * len(set(earliest)),
    }
    counted = (await db.execute(_COUNT, parameters)).one()
    times = moments(events, counted.last_at)
    return [
        Recorded(org_id=org_id, seq=seq, id=new_id(), event=replace(event, at=at))
        for seq, (event, at) in enumerate(zip(events, times, strict=True), start=counted.last_event + 1)
    ]


def moments(events: Sequence[Event], last_at: datetime) -> list[datetime]:
    """The time of each event: its own `at` where that is after all times before it, else the next possible one.

    Events in a row about the same subject share a time; different subjects never do.

    Args:
        last_at: the time of the commit before.
    """
    times: list[datetime] = []
    before: Event | None = None
    for event in events:
        if before is None or (event.subject_id, event.at) != (before.subject_id, before.at):
            last_at = max(event.at, last_at + TICK)
        times.append(last_at)
        before = event
    return times


_EVENTS = EventRow.__table__
assert isinstance(_EVENTS, Table)
_INSERT = insert(_EVENTS)


async def _write(db: AsyncSession, recorded: Sequence[Recorded[Event]]) -> None:
    rows = [
        {
            "org_id": one.org_id,
            "seq": one.seq,
            "id": one.id,
            "type": one.event.type,
            "version": one.event.version,
            "subject_id": one.event.subject_id,
            "actor_type": one.event.actor.type.value,
            "actor_id": one.event.actor.id,
            "data": one.event.data(),
            "created_at": one.event.at,
        }
        for one in recorded
    ]
    await db.execute(_INSERT, rows)
