"""How fast the worker closes tickets whose time has come, with their events and timers.

Measured twice: all come due at one moment, as at the end of a sandbox's month; and as after an outage, over days in the
past, with the reminders that were due before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.tickets import rules
from benchmarks import processes
from benchmarks.data import Dataset, connected, execute
from benchmarks.measure import cpu_seconds

SETTLED = 2.0  # seconds that a new worker is given to come to rest
OUTAGE = timedelta(days=10)
_NOT_YET = datetime(2100, 1, 1, tzinfo=UTC)

# Parameters: the organisation, the last number to close, when that one closes, and how long before that they begin to.
_ANSWERED = """
    UPDATE tickets SET status = 'RESPONDED', closed_at = NULL,
           auto_close_at = $3::timestamptz - $4::interval * (1 - number::float / $2::int)
    WHERE org_id = $1 AND number <= $2::int
"""
# Parameters: the organisation, the last number to close, the kind, and how long before a ticket's end it is.
_COUNTDOWN = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, $3::text, auto_close_at - $4::interval FROM tickets WHERE org_id = $1 AND number <= $2::int
    ON CONFLICT (org_id, subject_id, kind) DO UPDATE SET due_at = excluded.due_at
"""
# Parameters: the time that becomes this moment, and the earliest of those that move with it.
_COME_DUE = """
    UPDATE timers SET due_at = due_at - ($1::timestamptz - now())
    WHERE kind IN ('AUTO_CLOSE', 'AUTO_CLOSE_REMINDER') AND due_at >= $2
"""
_SOME_LEFT = "SELECT EXISTS (SELECT FROM timers WHERE kind <> 'DELIVER' AND due_at <= now())"
_CLOSED = """
    SELECT count(*) FROM tickets JOIN events ON events.org_id = $1 AND events.subject_id = tickets.id
    WHERE tickets.org_id = $1 AND tickets.number <= $2 AND tickets.status = 'CLOSED'
          AND events.type = 'ticket.status_changed'
"""
_REMINDED = "SELECT count(*) FROM events WHERE org_id = $1 AND type = 'ticket.closing_soon'"


@dataclass(frozen=True)
class Closing:
    """What became of the due tickets. `reminded` counts the reminders, and `cpu` is the worker's, in seconds."""

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
    """Let the oldest tenth of all tickets come due at one moment, and wait until a worker has closed them."""
    return asyncio.run(_close(data, where, {rules.AUTO_CLOSE: timedelta()}, timedelta()))


def catch_up(data: Dataset, where: processes.Place) -> Closing:
    """As `close`, after an outage: the tickets were due all along it, and their reminders before."""
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
                (_ANSWERED, (one.id, each, _NOT_YET, spread)),
                *((_COUNTDOWN, (one.id, each, kind, before)) for kind, before in kinds.items()),
            )
        await connection.execute("VACUUM (ANALYZE) tickets, timers")
        with processes.worker(where) as pid:
            await asyncio.sleep(SETTLED)
            cpu = cpu_seconds(pid)
            await connection.execute(_COME_DUE, _NOT_YET, _NOT_YET - spread - max(kinds.values()))
            begun = time.perf_counter()
            while await connection.fetchval(_SOME_LEFT):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.1)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(pid) - cpu
        closed = reminded = 0
        for one in data.organisations:
            async with connection.transaction():
                await execute(connection, one.id)
                closed += await connection.fetchval(_CLOSED, one.id, each)
                reminded += await connection.fetchval(_REMINDED, one.id)
    due = each * len(data.organisations)
    return Closing(due=due, closed=closed, reminded=reminded, seconds=seconds, cpu=cpu)
