"""Bound the bodies that the process keeps: their time, their rate, their number, and their bytes together.

A request is served only once its whole body has arrived, so a slow client occupies nothing but a place here. If there
are too many unfinished bodies, or too many bytes of them, the network with the most loses its slowest one.

A body that has arrived stays in memory until the response starts. Small ones are bounded by the number of requests. Of
the large ones, those that would exceed the bound are refused, and a network with several may have half of it. A
network's only one may exceed the bound, up to twice of it, so that a few networks cannot keep the others out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from app.core.web.refusals import CLOSE, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Message, Receive

MIN_RATE = 1000  # bytes per second, after GRACE
GRACE = 5.0  # seconds
MAX_UNFINISHED = 2000  # bodies
MAX_SMALL_BODY = 16 * 1024  # bytes; requests with such a body are bounded by their number alone
SWEEP_INTERVAL = 0.25  # seconds
TOO_MANY_BODIES = Refusal(
    503,
    "overloaded",
    "The service is overloaded.",
    "Too many bodies arrive at the same time, most of them from your network, and this one is its slowest. Send it "
    "again, faster, or fewer at the same time.",
    {"Retry-After": "5", **CLOSE},
)
TOO_MANY_BYTES = Refusal(
    503,
    "overloaded",
    "The service is overloaded.",
    "Too many requests with a large body are being served. Send this one again later.",
    {"Retry-After": "5"},
)


class UnfinishedBody:
    """A body that is arriving. `refusal` is the reason to stop reading it."""

    __slots__ = ("began_at", "deadline", "network", "parts", "received_bytes", "refusal")

    def __init__(self, network: str, deadline: asyncio.Timeout, began_at: float) -> None:
        self.network, self.deadline, self.began_at = network, deadline, began_at
        self.parts: list[bytes] = []
        self.received_bytes = 0
        self.refusal: Refusal | None = None

    def compute_rate(self, now: float) -> float:
        """Return bytes per second, with a credit for new bodies: as much as a body may lack during `GRACE`."""
        return (self.received_bytes + GRACE * MIN_RATE) / max(now - self.began_at, 0.001)

    def refuse(self, refusal: Refusal, now: float) -> None:
        """Stop reading."""
        if self.refusal is None:
            self.refusal = refusal
            self.deadline.reschedule(now)


class RequestBodies:
    """The bodies of the requests of one process.

    Args:
        max_bytes: the maximum size of a body.
        max_bytes_of: the maximum size by method and path, for operations with another limit.
        timeout: seconds in which a body must arrive.
        max_buffered_bytes: the maximum size of all unfinished bodies together, and of all large ones that have arrived.
    """

    def __init__(
        self, max_bytes: int, max_bytes_of: Mapping[tuple[str, str], int], timeout: float, max_buffered_bytes: int
    ) -> None:
        self.max_bytes, self.max_bytes_of = max_bytes, max_bytes_of
        self._timeout, self._max_buffered = timeout, max_buffered_bytes
        self._unfinished: dict[UnfinishedBody, None] = {}  # oldest first
        self._buffered = 0  # bytes of unfinished bodies
        self.kept_bytes = 0  # of large bodies that have arrived
        self._kept_of: Counter[str] = Counter()  # bytes by network
        self._sweep: asyncio.TimerHandle | None = None
        self._too_slow = _refuse_as_slow(f"The body must arrive within {timeout:g} s.")
        self._below_rate = _refuse_as_slow(f"The body must arrive at {MIN_RATE:,} bytes per second at least.")

    @property
    def unfinished(self) -> int:
        """The number of bodies that have not arrived completely."""
        return len(self._unfinished)

    async def read(
        self, receive: Receive, network: str, max_bytes: int, make_too_large: Callable[[], Refusal]
    ) -> Message | Refusal:
        """Read a body; return it as one message, the message of a disconnect, or the reason to refuse the request.

        Args:
            network: that the body comes from.
            make_too_large: makes the refusal of a body with more than `max_bytes`.
        """
        loop = asyncio.get_running_loop()
        deadline = asyncio.timeout(None)  # `_check_times` sets it
        body = UnfinishedBody(network, deadline, loop.time())
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
            self._drop(body)

    def keep(self, network: str, size: int) -> bool:
        """Count a body that has arrived until `release` is called; return whether it is within the bounds."""
        if size > MAX_SMALL_BODY:
            of_network = self._kept_of.get(network, 0)
            most = self._max_buffered if of_network else 2 * self._max_buffered
            if self.kept_bytes + size > most or (of_network and of_network + size > self._max_buffered / 2):
                return False
            self.kept_bytes += size
            self._kept_of[network] = of_network + size
        return True

    def release(self, network: str, size: int) -> None:
        """Count a body no longer that `keep` has counted."""
        if size > MAX_SMALL_BODY:
            self.kept_bytes -= size
            self._kept_of[network] -= size
            if not self._kept_of[network]:
                del self._kept_of[network]

    async def _read_parts(self, body: UnfinishedBody, receive: Receive, max_bytes: int) -> Message | Refusal | None:
        """Read until the end; return `None` if the body is too large."""
        while True:
            message = await receive()
            if body.refusal is not None:  # its first parts have been dropped
                return body.refusal
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
        """Refuse the slowest bodies of the networks with most, as long as there are too many."""
        while self._buffered > self._max_buffered:
            self._refuse_slowest({body: body.received_bytes for body in self._unfinished if body.received_bytes})
        while len(self._unfinished) > MAX_UNFINISHED:
            self._refuse_slowest(dict.fromkeys(self._unfinished, 1))

    def _refuse_slowest(self, shares: Mapping[UnfinishedBody, int]) -> None:
        """Refuse the slowest body of the network with the largest share, and count it no longer."""
        share_of: Counter[str] = Counter()
        for body, share in shares.items():
            share_of[body.network] += share
        ((network, _),) = share_of.most_common(1)
        now = asyncio.get_running_loop().time()
        slowest = min((body for body in shares if body.network == network), key=lambda body: body.compute_rate(now))
        slowest.refuse(TOO_MANY_BODIES, now)
        self._drop(slowest)

    def _drop(self, body: UnfinishedBody) -> None:
        """Count a body no longer, and free its memory."""
        if body in self._unfinished:
            del self._unfinished[body]
            self._buffered -= body.received_bytes
            body.parts.clear()

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
