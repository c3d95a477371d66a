"""How fast the worker closes tickets whose time has come, with their events and timers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import processes
from benchmarks.data import Dataset, connected, execute
from benchmarks.measure import cpu_seconds

SETTLED = 2.0  # seconds that a new worker is given to come to rest
_NOT_YET = datetime(2100, 1, 1, tzinfo=UTC)

# Parameters: the organisation, the last number to close, and a time that is not yet.
_ANSWERED = """
    UPDATE tickets SET status = 'RESPONDED', closed_at = NULL, auto_close_at = $3::timestamptz
    WHERE org_id = $1 AND number <= $2::int
"""
_COUNTDOWN = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'AUTO_CLOSE', $3::timestamptz FROM tickets WHERE org_id = $1 AND number <= $2::int
    ON CONFLICT (org_id, subject_id, kind) DO UPDATE SET due_at = excluded.due_at
"""
_COME_DUE = "UPDATE timers SET due_at = now() WHERE kind = 'AUTO_CLOSE' AND due_at = $1"
_SOME_LEFT = "SELECT EXISTS (SELECT FROM timers WHERE kind <> 'DELIVER' AND due_at <= now())"
_CLOSED = """
    SELECT count(*) FROM tickets JOIN events ON events.org_id = $1 AND events.ticket_id = tickets.id
    WHERE tickets.org_id = $1 AND tickets.number <= $2 AND tickets.status = 'CLOSED'
          AND events.type = 'ticket.status_changed'
"""


@dataclass(frozen=True)
class Closing:
    """What became of the due tickets. `cpu` is the worker's, in seconds."""

    due: int
    closed: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Tickets closed per second."""
        return self.closed / self.seconds


def close(data: Dataset, where: processes.Place) -> Closing:
    """Let the oldest tenth of all tickets come due at one moment, and wait until a worker has closed them."""
    return asyncio.run(_close(data, where, data.tickets // 10))


async def _close(data: Dataset, where: processes.Place, each: int) -> Closing:
    async with connected(data.address) as connection:
        for one in data.organisations:
            parameters = (one.id, each, _NOT_YET)
            await execute(connection, one.id, (_ANSWERED, parameters), (_COUNTDOWN, parameters))
        await connection.execute("VACUUM (ANALYZE) tickets, timers")
        with processes.worker(where) as pid:
            await asyncio.sleep(SETTLED)
            cpu = cpu_seconds(pid)
            await connection.execute(_COME_DUE, _NOT_YET)
            begun = time.perf_counter()
            while await connection.fetchval(_SOME_LEFT):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.1)
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(pid) - cpu
        closed = 0
        for one in data.organisations:
            async with connection.transaction():
                await execute(connection, one.id)
                closed += await connection.fetchval(_CLOSED, one.id, each)
    return Closing(due=each * len(data.organisations), closed=closed, seconds=seconds, cpu=cpu)
