"""Bound the bodies that have not arrived completely: their time, their rate, their number, and their bytes together.

A request is served only once its whole body has arrived, so a slow client occupies nothing but a place here. If there
are too many of these bodies, the oldest is refused: bodies that arrive at a usual rate are never the oldest, so that
slow clients cannot keep others out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.core.web.refusals import CLOSE, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Message, Receive

MIN_RATE = 1000  # bytes per second, after GRACE
GRACE = 5.0  # seconds
MAX_UNFINISHED = 2000  # bodies
SWEEP_INTERVAL = 0.25  # seconds
TOO_MANY_BODIES = Refusal(
    503,
    "overloaded",
    "The service is overloaded.",
    "Too many bodies arrive at the same time, and this one is the slowest. Send it again, faster.",
    {"Retry-After": "5", **CLOSE},
)


class UnfinishedBody:
    """A body that is arriving. `refusal` is the reason to stop reading it."""

    __slots__ = ("began_at", "deadline", "parts", "received_bytes", "refusal")

    def __init__(self, deadline: asyncio.Timeout, began_at: float) -> None:
        self.deadline, self.began_at = deadline, began_at
        self.parts: list[bytes] = []
        self.received_bytes = 0
        self.refusal: Refusal | None = None

    def refuse(self, refusal: Refusal, now: float) -> None:
        """Stop reading."""
        if self.refusal is None:
            self.refusal = refusal
            self.deadline.reschedule(now)


class RequestBodies:
    """The bodies that one process is receiving.

    Args:
        max_bytes: the maximum size of a body.
        max_bytes_of: the maximum size by method and path, for operations with another limit.
        timeout: seconds in which a body must arrive.
        max_buffered_bytes: the maximum size of all unfinished bodies together.
    """

    def __init__(
        self, max_bytes: int, max_bytes_of: Mapping[tuple[str, str], int], timeout: float, max_buffered_bytes: int
    ) -> None:
        self.max_bytes, self.max_bytes_of = max_bytes, max_bytes_of
        self._timeout, self._max_buffered = timeout, max_buffered_bytes
        self._unfinished: dict[UnfinishedBody, None] = {}  # oldest first
        self._buffered = 0  # bytes
        self._sweep: asyncio.TimerHandle | None = None
        self._too_slow = _refuse_as_slow(f"The body must arrive within {timeout:g} s.")
        self._below_rate = _refuse_as_slow(f"The body must arrive at {MIN_RATE:,} bytes per second at least.")

    @property
    def unfinished(self) -> int:
        """The number of bodies that have not arrived completely."""
        return len(self._unfinished)

    async def read(self, receive: Receive, max_bytes: int, make_too_large: Callable[[], Refusal]) -> Message | Refusal:
        """Read a body; return it as one message, the message of a disconnect, or the reason to refuse the request.

        Args:
            make_too_large: makes the refusal of a body with more than `max_bytes`.
        """
        loop = asyncio.get_running_loop()
        deadline = asyncio.timeout(None)  # `_check_times` sets it
        body = UnfinishedBody(deadline, loop.time())
        self._unfinished[body] = None
        if len(self._unfinished) > MAX_UNFINISHED:
            self._make_room()
        if self._sweep is None:
            self._sweep = loop.call_later(min(SWEEP_INTERVAL, self._timeout / 4), self._check_times)
        try:
            async with deadline:
                return await self._read_parts(body, receive, max_bytes) or make_too_large()
        except TimeoutError:
            if body.refusal is None:  # not ours
                raise
            return body.refusal
        finally:
            del self._unfinished[body]
            self._buffered -= body.received_bytes

    async def _read_parts(self, body: UnfinishedBody, receive: Receive, max_bytes: int) -> Message | None:
        """Read until the end; return `None` if the body is too large."""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message
            part = message.get("body", b"")
            if body.received_bytes + len(part) > max_bytes:
                return None
            if not message.get("more_body", False):
                return {**message, "body": b"".join([*body.parts, part])} if body.parts else message
            if part:
                body.parts.append(part)
                body.received_bytes += len(part)
                self._buffered += len(part)
            self._make_room()

    def _make_room(self) -> None:
        """Refuse the oldest bodies as long as there are too many."""
        if self._buffered <= self._max_buffered and len(self._unfinished) <= MAX_UNFINISHED:
            return
        now, buffered, count = asyncio.get_running_loop().time(), self._buffered, len(self._unfinished)
        for body in self._unfinished:
            if buffered <= self._max_buffered and count <= MAX_UNFINISHED:
                break
            body.refuse(TOO_MANY_BODIES, now)
            buffered -= body.received_bytes
            count -= 1

    def _check_times(self) -> None:
        """Refuse the bodies that are too slow."""
        loop = asyncio.get_running_loop()
        now, self._sweep = loop.time(), None
        for body in self._unfinished:
            age = now - body.began_at
            if age >= self._timeout:
                body.refuse(self._too_slow, now)
            elif age > GRACE and body.received_bytes < MIN_RATE * (age - GRACE):
                body.refuse(self._below_rate, now)
        if self._unfinished:
            self._sweep = loop.call_later(min(SWEEP_INTERVAL, self._timeout / 4), self._check_times)


def _refuse_as_slow(detail: str) -> Refusal:
    return Refusal(408, "request_timeout", "The request's body did not arrive in time.", detail, CLOSE)
