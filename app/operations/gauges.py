"""Gauges of the backlog. The worker measures them, and so does a web process when its metrics are requested."""

from __future__ import annotations

import time

from app.core import telemetry
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.failure_log import FailureLog
from app.core.turns import ProcessTurns
from app.operations.queries import measure_backlog

MEASUREMENT_INTERVAL = 15  # seconds


async def measure(database: Database) -> None:
    """Set the gauges of the backlog and of this process's connection pool."""
    async with database.session(None) as db:
        backlog = await measure_backlog(db, real_now())
    telemetry.POOL_IN_USE.set(database.connections_in_use())
    telemetry.EVENTS_WAITING.set(backlog.events)
    telemetry.TIMERS_OVERDUE.set(backlog.timers)
    telemetry.DELIVERIES_QUEUED.set(backlog.deliveries)
    telemetry.OLDEST_DELIVERY.set(backlog.oldest_delivery_age)


class Gauges:
    """The gauges of a process, at most `MEASUREMENT_INTERVAL` seconds old when they are read."""

    def __init__(self, database: Database, turns: ProcessTurns) -> None:
        self._database, self._turns = database, turns
        self._measured_at = float("-inf")
        self._failures = FailureLog("measuring")

    async def refresh(self) -> None:
        """Measure again if the last measurement is too old. Without a database the gauges keep their values."""
        telemetry.POOL_IN_USE.set(self._database.connections_in_use())
        self._turns.report()
        if time.monotonic() - self._measured_at < MEASUREMENT_INTERVAL:
            return
        self._measured_at = time.monotonic()
        try:
            await measure(self._database)
        except Exception as error:  # noqa: BLE001 - the other metrics must still be served
            self._failures.note_failure("backlog", error)
        else:
            self._failures.note_success("backlog")
