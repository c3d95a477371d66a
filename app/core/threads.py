"""Run work that takes much CPU time or memory in a limited number of threads, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from anyio import CapacityLimiter

from app.core.errors import Unavailable
from app.core.request_turns import suspended_turn

T = TypeVar("T")

NICENESS = 10  # added to that of the process


class Busy(Unavailable):
    """The service has as many passwords or pictures to process as it can take."""

    code = "busy"
    title = "The service is busy right now. Try again in a moment."


class BoundedThreads:
    """Run at most `max_running` calls at once, let `max_waiting` more wait, and refuse the next.

    The bounds hold per process. A request has no turn during its call, and takes it again afterwards.

    Args:
        busy: the error that a refused call raises.
    """

    def __init__(self, max_running: int, max_waiting: int, busy: type[Busy] = Busy) -> None:
        self._limiter = CapacityLimiter(max_running)
        self._max_calls = max_running + max_waiting
        self._busy = busy
        self._threads = ThreadPoolExecutor(max_running, "bounded", initializer=_lower_priority)

    async def run(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread and return its result.

        A cancelled call that is still waiting frees its place. A cancelled call that has started keeps its place until
        `work` returns, because a thread cannot be stopped.

        Raises:
            Busy: too many calls are running or waiting already.
            Overloaded: the request has waited too long for its turn after the call.
        """
        calls = self._limiter.statistics()
        if calls.borrowed_tokens + calls.tasks_waiting >= self._max_calls:
            raise self._busy
        async with suspended_turn():
            place = object()
            await self._limiter.acquire_on_behalf_of(place)
            running = asyncio.get_running_loop().run_in_executor(self._threads, work)
            running.add_done_callback(lambda _: self._limiter.release_on_behalf_of(place))
            return await asyncio.shield(running)


def _lower_priority() -> None:
    """Let the event loop and other processes go first. Threads that this one starts inherit its priority."""
    if sys.platform == "linux":  # elsewhere, a priority is that of the whole process
        niceness = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, niceness + NICENESS))
