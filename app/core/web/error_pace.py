"""Hold errors back for a while if there are very many.

A client that is refused usually sends its next request at once. Hundreds of such clients would keep the process busy
with nothing but refusals.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

MAX_ERRORS_PER_SECOND = 100
BURST = 50  # errors that are sent without delay
MAX_DELAY = 1.5  # seconds
MAX_HELD = 2000  # responses
GOLDEN_RATIO = 0.618  # multiples of it, modulo 1, are spread evenly
CALM = 4  # requests at the same time, which cannot keep the process busy


class ErrorPace:
    """The pace of the errors of one process. `held` counts the responses that are being held back."""

    def __init__(self) -> None:
        self.held = 0
        self._due_at = 0.0  # when the next error would be sent if there were no burst
        self._spread = 0.0

    async def hold(self, concurrent_requests: int) -> None:
        """Wait until the error may be sent: not at all, unless there are many errors and many requests."""
        if concurrent_requests <= CALM or self.held >= MAX_HELD:
            return
        now = time.monotonic()
        delay = max(self._due_at, now) - now - BURST / MAX_ERRORS_PER_SECOND
        if delay < MAX_DELAY:
            self._due_at = max(self._due_at, now) + 1 / MAX_ERRORS_PER_SECOND
        else:
            delay = self._spread_delay()
        if delay <= 0:
            return
        self.held += 1
        with suppress(asyncio.CancelledError):  # the server is stopping, so the error is sent now
            await asyncio.sleep(delay)
        self.held -= 1

    def _spread_delay(self) -> float:
        """Return a delay between half and all of the longest one: clients that came together come back one by one."""
        self._spread = (self._spread + GOLDEN_RATIO) % 1
        return MAX_DELAY * (1 + self._spread) / 2
