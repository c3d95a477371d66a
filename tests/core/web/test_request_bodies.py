"""Which bodies are refused if there are too many: those of the network with most, and of these the slowest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from app.core.web.refusals import OVERLOADED, Refusal
from app.core.web.request_bodies import MAX_SMALL_BODY, MAX_UNFINISHED, TOO_MANY_BODIES, RequestBodies

if TYPE_CHECKING:
    from starlette.types import Message

MB = 1_000_000


def make_bodies(max_buffered_bytes: int = 10 * MB) -> RequestBodies:
    return RequestBodies(5 * MB, {}, 30.0, max_buffered_bytes)


class Sending:
    """A body that a test sends part by part."""

    def __init__(self, bodies: RequestBodies, network: str) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.task: asyncio.Task[Any] = asyncio.create_task(
            bodies.read(self._messages.get, network, 5 * MB, lambda: OVERLOADED)
        )

    async def send(self, size: int, *, more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def refusal(self) -> Refusal | None:
        result = self.task.result() if self.task.done() else None
        return result if isinstance(result, Refusal) else None


async def stop(*sent: Sending) -> None:
    for one in sent:
        one.task.cancel()
    await asyncio.wait([one.task for one in sent])


async def test_the_network_with_most_bytes_is_refused_and_not_the_oldest_or_slowest_body() -> None:
    bodies = make_bodies()
    slow = Sending(bodies, "192.0.2.1")
    await slow.send(MB)
    await asyncio.sleep(0.05)
    many = [Sending(bodies, "192.0.2.2") for _ in range(6)]
    for one in many:
        await one.send(2 * MB)
        await asyncio.sleep(0.01)
    assert [one.refusal for one in many] == [TOO_MANY_BODIES] * 2 + [None] * 4
    assert slow.refusal is None
    await slow.send(MB, more=False)
    assert len(slow.task.result()["body"]) == 2 * MB
    await stop(*many)


async def test_of_one_network_the_body_with_the_lowest_rate_is_refused() -> None:
    bodies = make_bodies()
    oldest, slowest = Sending(bodies, "192.0.2.1"), Sending(bodies, "192.0.2.1")
    await oldest.send(4 * MB)
    await slowest.send(MB)
    await asyncio.sleep(0.05)
    newest = Sending(bodies, "192.0.2.1")
    await newest.send(4 * MB)
    await oldest.send(MB // 2)
    assert (slowest.refusal, oldest.refusal, newest.refusal) == (None, None, None)
    await newest.send(MB)
    assert (slowest.refusal, oldest.refusal, newest.refusal) == (TOO_MANY_BODIES, None, None)
    await stop(oldest, newest)


async def test_of_too_many_bodies_one_of_the_network_with_most_is_refused() -> None:
    bodies = make_bodies()
    first = Sending(bodies, "192.0.2.1")
    many = [Sending(bodies, "192.0.2.2") for _ in range(MAX_UNFINISHED)]
    await first.send(10)
    assert bodies.unfinished == MAX_UNFINISHED
    assert (first.refusal, sum(one.refusal is not None for one in many)) == (None, 1)
    await stop(first, *many)
    assert bodies.unfinished == 0


async def test_a_body_whose_end_arrives_with_its_refusal_is_not_served_in_part() -> None:
    bodies = make_bodies(3 * MB)
    one = Sending(bodies, "192.0.2.1")
    for size, more in ((2 * MB, True), (2 * MB, True), (10, False)):  # all of it waits to be read
        one._messages.put_nowait({"type": "http.request", "body": b"x" * size, "more_body": more})
    await asyncio.wait([one.task])
    assert one.refusal == TOO_MANY_BODIES


def test_one_network_may_have_half_of_the_bytes_that_are_kept() -> None:
    bodies = make_bodies()
    assert [bodies.keep("192.0.2.1", 2 * MB) for _ in range(3)] == [True, True, False]
    assert [bodies.keep("192.0.2.2", 2 * MB) for _ in range(3)] == [True, True, False]
    assert bodies.kept_bytes == 8 * MB
    bodies.release("192.0.2.1", 2 * MB)
    assert bodies.keep("192.0.2.1", 2 * MB)


def test_the_only_body_of_a_network_may_exceed_the_bound_up_to_twice_of_it() -> None:
    bodies = make_bodies()
    kept = [bodies.keep(f"192.0.2.{number}", 5 * MB) for number in range(600)]
    assert kept == [True] * 4 + [False] * 596
    assert bodies.kept_bytes == 20 * MB


def test_small_bodies_are_not_counted() -> None:
    bodies = make_bodies()
    assert all(bodies.keep("192.0.2.1", MAX_SMALL_BODY) for _ in range(10_000))
    assert bodies.kept_bytes == 0
    bodies.release("192.0.2.1", MAX_SMALL_BODY)
    assert bodies.kept_bytes == 0
