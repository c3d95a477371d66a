"""Bounded work in threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from app.core.threads import BoundedThreads, Busy
from tests.databases import eventually


class TooManyCalls(Busy):
    code = "too_many_calls"


class BlockingWork:
    """Work that lasts until `released` is set."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.started = threading.Semaphore(0)
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def run(self) -> str:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.started.release()
        self.released.wait(10)
        with self._lock:
            self.running -= 1
        return "result"

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
    threads, work = BoundedThreads(2, 3, TooManyCalls), BlockingWork()
    calls = [asyncio.create_task(threads.run(work.run)) for _ in range(5)]
    await work.wait_until_running(2)
    for _ in range(2):
        with pytest.raises(TooManyCalls):
            await threads.run(work.run)
    work.released.set()
    assert await asyncio.gather(*calls) == ["result"] * 5
    assert work.most_running == 2
    assert await threads.run(work.run) == "result"


async def test_a_cancelled_waiting_call_frees_its_place() -> None:
    threads, work = BoundedThreads(1, 1), BlockingWork()
    running = asyncio.create_task(threads.run(work.run))
    await work.wait_until_running(1)
    waiting = asyncio.create_task(threads.run(work.run))
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await threads.run(work.run)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    successor = asyncio.create_task(threads.run(work.run))
    work.released.set()
    assert [await running, await successor] == ["result", "result"]


async def test_a_cancelled_running_call_keeps_its_place_until_its_thread_ends() -> None:
    threads, work = BoundedThreads(1, 0), BlockingWork()
    running = asyncio.create_task(threads.run(work.run))
    await work.wait_until_running(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(Busy):
        await threads.run(work.run)
    work.released.set()

    async def is_free() -> bool:
        try:
            return await threads.run(work.run) == "result"
        except Busy:
            return False

    assert await eventually(is_free)
    assert work.most_running == 1
