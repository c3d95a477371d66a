"""What waits, as metrics: measured by the worker, and by a web process that is asked and has none inside."""

from __future__ import annotations

import time

import structlog

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.operations.queries import backlog

EVERY = 15  # seconds

log = structlog.get_logger("tessera.metrics")


async def measure(database: Database) -> None:
    """Read what waits, and how much of this process's pool is in use."""
    async with database.session(None) as db:
        waiting = await backlog(db, real_now())
    telemetry.POOL_IN_USE.set(database.connections_in_use())
    telemetry.EVENTS_WAITING.set(waiting.events)
    telemetry.TIMERS_OVERDUE.set(waiting.timers)
    telemetry.DELIVERIES_QUEUED.set(waiting.deliveries)
    telemetry.OLDEST_DELIVERY.set(waiting.oldest_delivery)


class Gauges:
    """The gauges of a process, not older than `EVERY` seconds when they are read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._measured_at = float("-inf")

    async def refresh(self) -> None:
        """Measure, unless that was just done; without a database the gauges stay as they are."""
        telemetry.POOL_IN_USE.set(self._database.connections_in_use())
        if time.monotonic() - self._measured_at < EVERY:
            return
        self._measured_at = time.monotonic()
        try:
            await measure(self._database)
        except Exception:  # the other metrics are wanted all the more
            log.warning("not_measured", exc_info=True)
