"""Give the requests of organisations turns, so that a busy organisation does not slow down the others.

A request takes its turn once its caller is known, and gives it back when its response starts. The number of turns is
bounded, in total and for each organisation. Further requests of an organisation wait in its queue, and the queues are
served in rotation. Requests of unknown callers (sign-ins, for example) and lookups of credentials each have separate
turns, with one queue for each network. The bounds hold per process.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from app.core import telemetry
from app.core.config import Settings
from app.core.errors import Unavailable

SWEEP_INTERVAL = 0.25  # seconds
MAX_QUEUES = 1000  # kept while they are idle
LONE_SHARE = 0.6  # of the pool
LONE_AFTER = 1.0  # seconds
STRANGERS_SHARE = 0.2  # of the pool, for callers who are not known; and as much for the lookups of credentials


class Overloaded(Unavailable):
    """The service has too many requests: yours, or those of all organisations."""

    code = "overloaded"
    title = "The service is overloaded."
    advice = "Send the request again after the seconds in `Retry-After`. Send fewer requests at the same time."


class CallerGone(Exception):
    """The client has disconnected while its request waited for a turn."""


@dataclass(eq=False, slots=True)
class _Waiter:
    """A request that waits for its turn. `is_gone` tells whether its client has disconnected."""

    granted: asyncio.Future[None]
    since: float
    is_gone: Callable[[], bool]


@dataclass(eq=False, slots=True)
class Queue:
    """The requests of one organisation, or of another group: how many have a turn, and which wait."""

    key: Hashable
    limit: int
    running: int = 0
    is_listed: bool = False  # in the rotation
    waiting: deque[_Waiter] = field(default_factory=deque)


class RequestTurns:
    """The turns of one process.

    Args:
        total: how many requests may have a turn at the same time.
        share: how many of them may be of one organisation.
        lone_share: the same while only one organisation has sent requests for `LONE_AFTER` seconds.
        queue_size: how many more requests of one organisation may wait.
        timeout: seconds that a request waits before it is refused.
    """

    def __init__(
        self,
        *,
        total: int,
        share: int,
        queue_size: int,
        timeout: float,
        lone_share: int = 0,
    ) -> None:
        self._total, self._share, self._queue_size, self._timeout = total, share, queue_size, timeout
        self._lone_share = lone_share
        self._last: Hashable = None  # that has taken a turn
        self._others_at = float("-inf")  # when a request came that was not of the same organisation as the one before
        self._queues: dict[Hashable, Queue] = {}
        self._rotation: deque[Queue] = deque()  # queues with waiting requests that may have a further turn
        self._ended: list[Queue] = []  # turns that end with the next pass of the event loop
        self.running = self.waiting = self._reported = 0
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, key: Hashable, is_gone: Callable[[], bool], *, is_again: bool = False) -> Queue | Awaitable[Queue]:
        """Take a turn: return its queue at once if a turn is free, which is the usual case, or else an awaitable.

        Args:
            is_again: whether the request has had a turn before. Then it is the next of its group, and a full queue does
                not refuse it, because much of its work is done.

        Raises:
            Overloaded: too many requests of this group are waiting.
        """
        if key != self._last:
            self._last, self._others_at = key, time.monotonic()
        queue = self._queues.get(key)
        if queue is None:
            queue = self._add_queue(key)
        if (
            self.running < self._total
            and not queue.waiting
            and (queue.running < queue.limit or self._may_run_alone(queue))
        ):
            queue.running += 1
            self.running += 1
            return queue
        return self._wait(queue, is_gone, is_again=is_again)

    def _may_run_alone(self, queue: Queue) -> bool:
        """Return whether the queue may have more turns than its share, because there are no other requests."""
        return queue.running < self._lone_share and time.monotonic() - self._others_at > LONE_AFTER

    def end(self, queue: Queue) -> None:
        """End a turn with the next pass of the event loop.

        Requests that never wait for the database would otherwise never meet: all that have arrived would be served in
        one pass, however many they are, and the requests of others would wait for each such pass.
        """
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._end_turns)
        self._ended.append(queue)

    async def _wait(self, queue: Queue, is_gone: Callable[[], bool], *, is_again: bool) -> Queue:
        if len(queue.waiting) >= self._queue_size and not is_again:
            raise Overloaded("Too many requests of this caller are waiting. Send this one again later.")
        waiter = _Waiter(asyncio.get_running_loop().create_future(), time.monotonic(), is_gone)
        if is_again:
            queue.waiting.appendleft(waiter)
        else:
            queue.waiting.append(waiter)
        self._count_waiting(1)
        self._list(queue)
        self._start_sweep()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in queue.waiting:
                queue.waiting.remove(waiter)
                self._count_waiting(-1)
            elif not waiter.granted.cancelled() and waiter.granted.exception() is None:
                self.end(queue)  # cancelled between the grant and this line
            raise
        return queue

    def _end_turns(self) -> None:
        ended, self._ended = self._ended, []
        for queue in ended:
            queue.running -= 1
            if queue.waiting:
                self._list(queue)
        self.running -= len(ended)
        self._start_sweep()
        if self._rotation:
            self._grant()

    def _grant(self) -> None:
        """Give the free turns to waiting requests, one to each queue in rotation."""
        while self._rotation and self.running < self._total:
            queue = self._rotation.popleft()
            queue.is_listed = False
            while queue.waiting:
                waiter = queue.waiting.popleft()
                self._count_waiting(-1)
                if not waiter.granted.done():
                    waiter.granted.set_result(None)
                    queue.running += 1
                    self.running += 1
                    break
            self._list(queue)

    def _list(self, queue: Queue) -> None:
        """Add a queue to the end of the rotation, if a request of it may have a turn."""
        may_run = queue.running < queue.limit or self._may_run_alone(queue)
        if queue.waiting and may_run and not queue.is_listed:
            queue.is_listed = True
            self._rotation.append(queue)

    def _add_queue(self, key: Hashable) -> Queue:
        if len(self._queues) >= MAX_QUEUES:  # a queue that is kept saves time, but each organisation leaves one behind
            self._queues = {one.key: one for one in self._queues.values() if one.running or one.waiting}
        queue = self._queues[key] = Queue(key, self._share)
        return queue

    def _count_waiting(self, change: int) -> None:
        self.waiting += change
        telemetry.REQUESTS_WAITING.inc(change)

    def report(self) -> None:
        """Update the gauge of requests in work. Every turn would cost a microsecond, so the sweep does it."""
        if self.running != self._reported:
            telemetry.REQUESTS_IN_WORK.inc(self.running - self._reported)
            self._reported = self.running

    def _start_sweep(self) -> None:
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_INTERVAL, self._sweep_queues)

    def _sweep_queues(self) -> None:
        """Remove requests that have waited too long, or whose client has disconnected, from their queues."""
        self._sweep = None
        too_old = time.monotonic() - self._timeout
        for queue in [queue for queue in self._queues.values() if queue.waiting]:
            lost = [waiter for waiter in queue.waiting if waiter.since <= too_old or waiter.is_gone()]
            for waiter in lost:
                queue.waiting.remove(waiter)
                self._count_waiting(-1)
                if not waiter.granted.done():
                    waiter.granted.set_exception(
                        CallerGone() if waiter.is_gone() else Overloaded("The request has waited for too long.")
                    )
            self._list(queue)  # the others may have gone meanwhile
        self._grant()
        self.report()
        if self.waiting or self.running:
            self._start_sweep()


@dataclass(frozen=True)
class ProcessTurns:
    """The turns of one process: of organisations, and by network of strangers and of lookups of credentials.

    The three are separate, so that unknown callers and known callers do not make each other wait.
    """

    organisations: RequestTurns
    strangers: RequestTurns
    lookups: RequestTurns

    @classmethod
    def from_settings(cls, settings: Settings) -> ProcessTurns:
        """Make the turns: about one for each connection to the database, so that requests rarely wait for one."""
        size = settings.database_pool_size
        few = max(1, round(size * STRANGERS_SHARE))
        total = max(1, size - round(size * STRANGERS_SHARE))
        share = max(1, min(total, round(size * settings.org_pool_share)))

        def make(total: int, share: int, lone_share: int) -> RequestTurns:
            return RequestTurns(
                total=total,
                share=share,
                lone_share=lone_share,
                queue_size=settings.org_queue_size,
                timeout=settings.org_queue_timeout,
            )

        return cls(make(total, share, round(size * LONE_SHARE)), make(few, 1, few), make(few, 1, few))

    @property
    def running(self) -> int:
        """The number of requests that have a turn."""
        return self.organisations.running + self.strangers.running + self.lookups.running

    def report(self) -> None:
        """Update the gauge of requests in work."""
        for turns in (self.organisations, self.strangers, self.lookups):
            turns.report()
