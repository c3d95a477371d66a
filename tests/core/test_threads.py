"""Bounded work in threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.core.threads import BoundedThreads, Busy
from tests.databases import eventually


class TooManyCakes(Busy):
    code = "too_many_cakes"


class Oven:
    """Work that lasts until the oven is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.started = threading.Semaphore(0)
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def bake(self) -> str:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.started.release()
        self.opened.wait(10)
        with self._lock:
            self.running -= 1
        return "cake"

    async def wait_until_running(self, calls: int) -> None:
        for _ in range(calls):
            assert await asyncio.to_thread(self.started.acquire, timeout=5)


async def test_the_caller_gets_the_result_or_the_error_of_the_work() -> None:
    threads = BoundedThreads(1, 0)
    assert await threads.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: "still works") == "still works"


async def test_calls_over_the_limits_are_refused_immediately() -> None:
    threads, oven = BoundedThreads(2, 3, TooManyCakes), Oven()
    calls = [asyncio.create_task(threads.run(oven.bake)) for _ in range(5)]
    await oven.wait_until_running(2)
    for _ in range(2):
        with pytest.raises(TooManyCakes):
            await threads.run(oven.bake)
    oven.opened.set()
    assert await asyncio.gather(*calls) == ["cake"] * 5
    assert oven.most_running == 2
    assert await threads.run(oven.bake) == "cake"


async def test_a_cancelled_waiting_call_frees_its_place() -> None:
    threads, oven = BoundedThreads(1, 1), Oven()
    running = asyncio.create_task(threads.run(oven.bake))
    await oven.wait_until_running(1)
    waiting = asyncio.create_task(threads.run(oven.bake))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await threads.run(oven.bake)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    successor = asyncio.create_task(threads.run(oven.bake))
    oven.opened.set()
    assert [await running, await successor] == ["cake", "cake"]


async def test_a_cancelled_running_call_keeps_its_place_until_its_thread_ends() -> None:
    threads, oven = BoundedThreads(1, 0), Oven()
    running = asyncio.create_task(threads.run(oven.bake))
    await oven.wait_until_running(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(Busy):
        await threads.run(oven.bake)
    oven.opened.set()

    async def is_free() -> bool:
        try:
            return await threads.run(oven.bake) == "cake"
        except Busy:
            return False

    assert await eventually(is_free)
    assert oven.most_running == 1
