"""Log failures that repeat, such as those of a job that runs twice a second while the database is away.

There is a line when it starts, at growing intervals while it lasts, and when it is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from app.core.database.outages import is_outage, lacks_schema

FIRST_REMINDER = 60.0  # seconds after the first line; each further interval is twice as long
MAX_INTERVAL = 3600.0  # seconds
# Seconds after which a failure says nothing about the present: a job may run only once an hour.
MAX_FAILURE_AGE = 5.0

log = structlog.get_logger("tessera.worker")


@dataclass
class _Streak:
    """Failures in a row, for one reason.

    Args:
        failing: the names of what fails for this reason at the moment, with the times of their last failures.
    """

    started_at: float
    next_line_at: float
    interval: float = FIRST_REMINDER
    failures: int = 0
    failing: dict[str, float] = field(default_factory=dict)


class FailureLog:
    """Count the failures of jobs and the like, and log few of them.

    What fails because of the database is logged once for all, and in one line. Other failures are logged for each name,
    with a traceback.

    Args:
        event: the beginning of the names of the log lines: `…_failed`, `…_still_failing` and `…_recovered`.
        clock: returns seconds.
    """

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._failed, self._still_failing, self._recovered = (
            f"{event}_{state}" for state in ("failed", "still_failing", "recovered")
        )
        self._clock = clock
        self._streaks: dict[str, _Streak] = {}

    def note_failure(self, name: str, error: Exception) -> None:
        """Count a failure, and log it if it is the first one or if a line is due."""
        is_of_database = is_outage(error) or lacks_schema(error)
        reason = "database" if is_of_database else f"{name}: {type(error).__name__}"
        self._end_others(name, reason)
        now = self._clock()
        streak = self._streaks.setdefault(reason, _Streak(now, now))
        streak.failures += 1
        streak.failing[name] = now
        if now < streak.next_line_at:
            return
        # Without the message of an unexpected error: it may contain data of a tenant.
        details = {"error": f"{type(error).__name__}: {error}".partition("\n")[0][:300]} if is_of_database else {}
        if streak.failures == 1:
            log.warning(self._failed, job=name, **details, exc_info=None if is_of_database else error)
        else:
            seconds = round(now - streak.started_at)
            log.warning(
                self._still_failing, job=name, failures=streak.failures, seconds=seconds,
                **(details or {"error": type(error).__name__}),
            )  # fmt: skip
            streak.interval = min(2 * streak.interval, MAX_INTERVAL)
        streak.next_line_at = now + streak.interval

    def note_success(self, name: str) -> None:
        """Note that it works, and log that if nothing fails for the same reason any more."""
        self._end_others(name, None)

    def _end_others(self, name: str, reason: str | None) -> None:
        """End the failures of this name for other reasons."""
        now = self._clock()
        for other in [one for one, streak in self._streaks.items() if one != reason and name in streak.failing]:
            streak = self._streaks[other]
            del streak.failing[name]
            if all(now - failed_at > MAX_FAILURE_AGE for failed_at in streak.failing.values()):
                del self._streaks[other]
                seconds = round(now - streak.started_at, 1)
                log.info(self._recovered, job=name, failures=streak.failures, seconds=seconds)
