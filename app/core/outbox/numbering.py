"""Number and write the events of a transaction just before it commits: run reactions, give numbers and times, write.

The organisation's counter row is locked from the numbering to the commit. Numbers are therefore dense and in commit
order, and a reader that asks for `seq > N` never misses an event. Times follow the same order: each time is later than
all times of earlier commits, and a reader that asks for `updatedAfter` misses nothing either.

A transaction takes this lock last, so it cannot deadlock. Before that, it has locked the rows that it writes
afterwards (`DatedRow`), so no statement waits while the counter is locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, DateTime, Interval, Table, Uuid, bindparam, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.intervals import add_interval_sql
from app.core.database.pool import wake_worker_after_commit
from app.core.ids import new_id
from app.core.outbox.events import Event, Recorded, get_pending_events
from app.core.outbox.models import DatedRow, EventRow
from app.core.outbox.subscriptions import Reactions, Subscribers

if TYPE_CHECKING:
    from app.core.database.pool import Driver

TICK = timedelta(microseconds=1)  # the resolution of a stored time

# `before` waits for the row's lock and then reads its latest version. The update reads the same version.
_TAKE_NUMBERS = text(
    f"""
    WITH before AS MATERIALIZED (
        SELECT last_at FROM counters WHERE org_id = :org_id FOR NO KEY UPDATE
    )
    UPDATE counters SET last_event = last_event + :events,
           last_at = greatest(:latest, {add_interval_sql("counters.last_at", ":span")})
    FROM before WHERE counters.org_id = :org_id
    RETURNING last_event - :events AS last_event, before.last_at
    """  # noqa: S608 - constants
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("events", type_=BigInteger),
    bindparam("latest", type_=DateTime(timezone=True)),
    bindparam("span", type_=Interval),
)


class Numbering:
    """The pool's `before_commit`: number and write the events of a transaction.

    Args:
        reactions: the reactions to events, called in the same transaction.
        time_setters: the functions that give rows the time of their event. They run under the counter's lock, so they
            may only write rows that the transaction has already locked.
    """

    def __init__(self, reactions: Reactions | None = None, time_setters: Subscribers | None = None) -> None:
        self.reactions = reactions or Reactions()
        self.time_setters = time_setters or Subscribers()

    async def __call__(self, db: AsyncSession, org_id: UUID | None) -> None:
        """Run the reactions to the recorded events, then write the events. Call it again for later events."""
        events = get_pending_events(db)
        if not events:
            return
        assert org_id is not None
        await self._react(db, org_id, events)
        wake_worker_after_commit(db)
        if any(not isinstance(row, DatedRow) for row in chain(db.new, db.dirty, db.deleted)):
            await db.flush()
        recorded = await _number(db, org_id, events)
        await self._set_times(db, org_id, recorded)
        await db.flush()
        await _write(db, recorded)
        events.clear()

    async def _react(self, db: AsyncSession, org_id: UUID, events: list[Event]) -> None:
        handled = 0
        while handled < len(events):  # a reaction may record further events
            event = events[handled]
            handled += 1
            for react in self.reactions.find(event):
                await react(db, org_id, event)

    async def _set_times(self, db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[Event]]) -> None:
        events_by_function: dict[Any, list[Recorded[Event]]] = {}
        for one in recorded:
            for set_times in self.time_setters.find(one.event.type):
                events_by_function.setdefault(set_times, []).append(one)
        for set_times, its_events in events_by_function.items():
            await set_times(db, org_id, its_events)


async def _number(db: AsyncSession, org_id: UUID, events: Sequence[Event]) -> list[Recorded[Event]]:
    """Lock the counter's row, and give each event its number and time."""
    earliest_times = assign_times(events, datetime.min.replace(tzinfo=events[0].at.tzinfo))
    parameters = {
        "org_id": org_id,
        "events": len(events),
        "latest": earliest_times[-1],
        "span": TICK * len(set(earliest_times)),
    }
    counter = (await db.execute(_TAKE_NUMBERS, parameters)).one()
    times = assign_times(events, counter.last_at)
    return [
        Recorded(org_id=org_id, seq=seq, id=new_id(), event=replace(event, at=at))
        for seq, (event, at) in enumerate(zip(events, times, strict=True), start=counter.last_event + 1)
    ]


def assign_times(events: Sequence[Event], last_at: datetime) -> list[datetime]:
    """Return the time of each event: its `at` if that is after all earlier times, else the next possible time.

    Consecutive events about the same subject share a time. Different subjects never share one.

    Args:
        last_at: the time of the previous commit.
    """
    times: list[datetime] = []
    previous: Event | None = None
    for event in events:
        if previous is None or (event.subject_id, event.at) != (previous.subject_id, previous.at):
            last_at = max(event.at, last_at + TICK)
        times.append(last_at)
        previous = event
    return times


_EVENTS = EventRow.__table__
assert isinstance(_EVENTS, Table)
_INSERT = insert(_EVENTS)
_COLUMNS = ("org_id", "seq", "id", "type", "version", "subject_id", "actor_type", "actor_id", "data", "created_at")


async def _write(db: AsyncSession, recorded: Sequence[Recorded[Event]]) -> None:
    await db.execute(_INSERT, [dict(zip(_COLUMNS, _dump_row(one), strict=True)) for one in recorded])


async def write_numbered(driver: Driver, org_id: UUID, events: Sequence[Event], *, last_seq: int) -> None:
    """Write events that a statement on the driver has numbered and dated; `last_seq` is the number of the last one."""
    rows = [
        _dump_row(Recorded(org_id=org_id, seq=seq, id=new_id(), event=event))
        for seq, event in enumerate(events, start=last_seq - len(events) + 1)
    ]
    for row in rows:
        row[_DATA] = orjson.dumps(row[_DATA]).decode()
    await driver.execute(insert_events_sql(len(rows)), *chain.from_iterable(rows))


_DATA = _COLUMNS.index("data")


@cache
def insert_events_sql(rows: int) -> str:
    """Return the driver's statement that inserts this number of events, with the parameters of one after another."""
    numbers = count(1)
    values = (f"({', '.join(f'${next(numbers)}' for _ in _COLUMNS)})" for _ in range(rows))
    return f"INSERT INTO events ({', '.join(_COLUMNS)}) VALUES {', '.join(values)}"  # noqa: S608 - constants


def _dump_row(one: Recorded[Event]) -> list[Any]:
    event = one.event
    return [
        one.org_id, one.seq, one.id, event.type, event.version, event.subject_id, event.actor.type, event.actor.id,
        event.dump_data(), event.at,
    ]  # fmt: skip
