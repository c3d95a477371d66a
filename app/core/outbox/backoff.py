"""The waits between attempts: the schedules of deliveries, the relay and timers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Backoff:
    """A schedule with a limited number of attempts: `waits` has one wait after each attempt except the last.

    A random part of each wait, at most `jitter`, is added to it, so that many retries spread out.
    """

    waits: tuple[timedelta, ...]
    jitter: float = 0.0

    def wait_after(self, attempt: int) -> timedelta | None:
        """Return how long to wait after the given attempt (1, 2, …); `None` after the last one."""
        if attempt > len(self.waits):
            return None
        return self.waits[attempt - 1] * (1 + random.uniform(0, self.jitter))  # noqa: S311 - not a secret

    @property
    def max_attempts(self) -> int:
        """The number of attempts, the first one included."""
        return len(self.waits) + 1


@dataclass(frozen=True)
class ExponentialBackoff:
    """A schedule without a last attempt: each wait is twice the previous one, up to `cap`."""

    first: timedelta
    cap: timedelta

    def wait_after(self, attempt: int) -> timedelta:
        """Return how long to wait after the given attempt (1, 2, …)."""
        wait = self.first
        for _ in range(attempt - 1):
            if wait >= self.cap:
                break
            wait *= 2
        return min(wait, self.cap)


def _seconds(*numbers: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=number) for number in numbers)


# Of a delivery that failed temporarily: eight attempts over some 17 hours. The first wait is short for a password reset
# during a restart of the mail server.
DELIVERY_BACKOFF = Backoff(_seconds(5, 30, 2 * 60, 10 * 60, 3600, 4 * 3600, 12 * 3600), jitter=0.2)
# Of an event that a subscriber failed on: six attempts, then it is parked.
RELAY_BACKOFF = Backoff(_seconds(5, 30, 2 * 60, 10 * 60, 3600))
# Of a timer whose handler failed: it is tried until it succeeds.
TIMER_BACKOFF = ExponentialBackoff(first=timedelta(seconds=5), cap=timedelta(hours=1))
