"""Hold errors back for a while if there are very many.

A client that is refused usually sends its next request at once. Hundreds of such clients would keep the process busy
with nothing but refusals. Each network has its share of the pace, and so has each organisation with errors of overload:
only errors beyond the share are held, so that a flood of errors does not delay those of others.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

MAX_ERRORS_PER_SECOND = 100
BURST = 50  # errors that are sent without delay
MIN_BURST = 5  # errors of one network that are sent without delay, however many others share the pace
MAX_DELAY = 1.5  # seconds
MAX_HELD = 2000  # responses
MAX_NETWORKS = 2000  # that are told apart
IDLE_AFTER = 1.0  # seconds
GOLDEN_RATIO = 0.618  # multiples of it, modulo 1, are spread evenly
CALM = 4  # requests at the same time, which cannot keep the process busy


class ErrorPace:
    """The pace of the errors of one process. `held` counts the responses that are being held back."""

    def __init__(self) -> None:
        self.held = 0
        self._due_at = 0.0  # when the next error would be sent if there were no burst
        self._due_at_of: dict[Hashable, float] = {}  # the same for one network or organisation at its share of the pace
        self._checked_at = 0.0
        self._spread = 0.0

    async def hold(self, key: Hashable, concurrent_requests: int) -> None:
        """Wait until the error may be sent: not at all, unless there are many errors of its kind and many requests.

        Args:
            key: the network or the organisation that caused the error.
        """
        if concurrent_requests <= CALM or self.held >= MAX_HELD:
            return
        delay = self._count(key, time.monotonic())
        if delay <= 0:
            return
        self.held += 1
        with suppress(asyncio.CancelledError):  # the server is stopping, so the error is sent now
            await asyncio.sleep(delay)
        self.held -= 1

    def _count(self, key: Hashable, now: float) -> float:
        """Count an error; return the seconds for which it is held."""
        self._forget_idle(now)
        due_at, own_due_at = max(self._due_at, now), max(self._due_at_of.get(key, now), now)
        self._due_at_of[key] = own_due_at
        interval = len(self._due_at_of) / MAX_ERRORS_PER_SECOND  # between two errors of one network
        burst = BURST / MAX_ERRORS_PER_SECOND
        delay = own_due_at - now - max(MIN_BURST * interval, burst)
        is_calm = due_at - now <= burst
        if due_at - now < MAX_DELAY + burst:
            self._due_at = due_at + 1 / MAX_ERRORS_PER_SECOND
        if is_calm or delay < MAX_DELAY:
            self._due_at_of[key] = own_due_at + interval
        else:
            delay = self._spread_delay()
        return 0 if is_calm else delay

    def _forget_idle(self, now: float) -> None:
        """Forget those without errors for a while: the others share the pace."""
        if now - self._checked_at > IDLE_AFTER or len(self._due_at_of) >= MAX_NETWORKS:
            self._checked_at = now
            active = {key: due_at for key, due_at in self._due_at_of.items() if due_at > now - IDLE_AFTER}
            self._due_at_of = active if len(active) < MAX_NETWORKS else {}

    def _spread_delay(self) -> float:
        """Return a delay between half and all of the longest one: clients that came together come back one by one."""
        self._spread = (self._spread + GOLDEN_RATIO) % 1
        return MAX_DELAY * (1 + self._spread) / 2
