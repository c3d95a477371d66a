"""Measure how fast the worker closes due tickets, including their events and timers.

Measured twice: with tickets that become due at the same time, and with tickets that became due over the past days, as
after an outage, together with their reminders.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.tickets.auto_close import rules
from benchmarks import processes
from benchmarks.data import Dataset, connected, execute
from benchmarks.measure import cpu_seconds

WORKER_WARM_UP = 2.0  # seconds
OUTAGE = timedelta(days=10)
_FUTURE = datetime(2100, 1, 1, tzinfo=UTC)

# Parameters: the organisation, the last number to close, its due time, and the period in which the others become due.
_MAKE_RESPONDED = """
    UPDATE tickets SET status = 'RESPONDED', closed_at = NULL,
           auto_close_at = $3::timestamptz - $4::interval * (1 - number::float / $2::int)
    WHERE org_id = $1 AND number <= $2::int
"""
# Parameters: the organisation, the last number to close, the kind of timer, and how long before auto-close it is due.
_INSERT_TIMERS = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, $3::text, auto_close_at - $4::interval FROM tickets WHERE org_id = $1 AND number <= $2::int
    ON CONFLICT (org_id, subject_id, kind) DO UPDATE SET due_at = excluded.due_at
"""
# Parameters: the time that is shifted to now, and the earliest due time to shift.
_MAKE_DUE = """
    UPDATE timers SET due_at = due_at - ($1::timestamptz - now())
    WHERE kind IN ('AUTO_CLOSE', 'AUTO_CLOSE_REMINDER') AND due_at >= $2
"""
_HAS_DUE_TIMERS = "SELECT EXISTS (SELECT FROM timers WHERE kind <> 'DELIVER' AND due_at <= now())"
_COUNT_CLOSED = """
    SELECT count(*) FROM tickets JOIN events ON events.org_id = $1 AND events.subject_id = tickets.id
    WHERE tickets.org_id = $1 AND tickets.number <= $2 AND tickets.status = 'CLOSED'
          AND events.type = 'ticket.status_changed'
"""
_COUNT_REMINDED = "SELECT count(*) FROM events WHERE org_id = $1 AND type = 'ticket.closing_soon'"


@dataclass(frozen=True)
class Closing:
    """The result of a run. `reminded` counts the reminders; `cpu` is the worker's CPU time in seconds."""

    due: int
    closed: int
    reminded: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Tickets closed per second."""
        return self.closed / self.seconds


def close(data: Dataset, where: processes.Place) -> Closing:
    """Make the oldest tenth of all tickets due at the same time, and wait until a worker has closed them."""
    return asyncio.run(_close(data, where, {rules.AUTO_CLOSE: timedelta()}, timedelta()))


def catch_up(data: Dataset, where: processes.Place) -> Closing:
    """Measure like `close`, but after an outage: tickets became due during it, and their reminders before it."""
    return asyncio.run(
        _close(data, where, {rules.AUTO_CLOSE: timedelta(), rules.AUTO_CLOSE_REMINDER: rules.REMIND_BEFORE}, OUTAGE)
    )


async def _close(data: Dataset, where: processes.Place, kinds: Mapping[str, timedelta], spread: timedelta) -> Closing:
    each = data.tickets // 10
    async with connected(data.address) as connection:
        for one in data.organisations:
            await execute(
                connection,
                one.id,
                (_MAKE_RESPONDED, (one.id, each, _FUTURE, spread)),
                *((_INSERT_TIMERS, (one.id, each, kind, before)) for kind, before in kinds.items()),
            )
        await connection.execute("VACUUM (ANALYZE) tickets, timers")
        with processes.worker(where) as pid:
            await asyncio.sleep(WORKER_WARM_UP)
            cpu = cpu_seconds(pid)
            await connection.execute(_MAKE_DUE, _FUTURE, _FUTURE - spread - max(kinds.values()))
            started = time.perf_counter()
            while await connection.fetchval(_HAS_DUE_TIMERS):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.1)
            seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
        closed = reminded = 0
        for one in data.organisations:
            async with connection.transaction():
                await execute(connection, one.id)
                closed += await connection.fetchval(_COUNT_CLOSED, one.id, each)
                reminded += await connection.fetchval(_COUNT_REMINDED, one.id)
    due = each * len(data.organisations)
    return Closing(due=due, closed=closed, reminded=reminded, seconds=seconds, cpu=cpu)
