"""Turns that a request suspends while it waits: they are free for others, and are taken again afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from app.authentication.timing import round_up_duration
from app.core.request_turns import Turn, current_turn, suspended_turn
from app.core.threads import BoundedThreads
from app.core.turns import CallerGone, Overloaded, ProcessTurns, RequestTurns
from tests.core.taking_turns import Requests, make_turns, settle, take


class Suspending:
    """A request with a turn that is suspended until told to go on."""

    def __init__(self, turns: RequestTurns, key: str = "a", is_gone: Callable[[], bool] = lambda: False) -> None:
        self.turn = Turn(ProcessTurns(turns, turns, turns), is_gone)
        assert self.turn.take(turns, key) is None
        self.has_resumed = False
        self._released = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        current_turn.set(self.turn)
        async with suspended_turn():
            await self._released.wait()
        self.has_resumed = True

    async def go_on(self) -> None:
        self._released.set()
        await settle()


async def test_a_suspended_turn_is_free_and_is_taken_again_afterwards() -> None:
    turns = make_turns(share=1)
    request = Suspending(turns)
    await settle()
    assert turns.running == 0
    other = await take(turns, "a")
    await request.go_on()
    assert (request.has_resumed, turns.waiting) == (False, 1)
    other.give_back()
    await request.task
    assert (request.has_resumed, turns.running) == (True, 1)
    request.turn.end()
    await settle()
    assert turns.running == 0


async def test_a_request_that_resumes_is_the_next_even_if_the_queue_is_full() -> None:
    requests = Requests(turns := make_turns(share=1, queue_size=1))
    request = Suspending(turns)
    await settle()
    tasks = [requests.start("a1"), requests.start("a2")]
    await settle()
    await request.go_on()
    await requests.end("a1")
    assert (request.has_resumed, requests.served) == (True, ["a1"])
    request.turn.end()
    await settle()
    assert requests.served == ["a1", "a2"]
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("is_waiting", [True, False])
async def test_a_request_cancelled_while_its_turn_is_suspended_keeps_none(is_waiting: bool) -> None:
    turns = make_turns(share=1)
    request = Suspending(turns)
    await settle()
    other = await take(turns, "a")
    if is_waiting:
        await request.go_on()
    request.task.cancel()
    await settle()
    assert (request.task.cancelled(), turns.waiting, turns.running) == (True, 0, 1)
    request.turn.end()
    other.give_back()
    await settle()
    assert turns.running == 0


@pytest.mark.parametrize(("is_gone", "error"), [(False, Overloaded), (True, CallerGone)])
async def test_a_request_that_cannot_resume_fails_without_a_turn(is_gone: bool, error: type[Exception]) -> None:
    turns = make_turns(share=1, timeout=0.1)
    request = Suspending(turns, is_gone=lambda: is_gone)
    await settle()
    other = await take(turns, "a")
    await request.go_on()
    with pytest.raises(error):
        await request.task
    assert (request.has_resumed, turns.waiting) == (False, 0)
    request.turn.end()
    other.give_back()
    await settle()
    assert turns.running == 0


async def test_a_request_that_has_ended_does_not_resume_its_turn() -> None:
    turns = make_turns(share=1)
    early, late = Suspending(turns), Suspending(turns, "b")
    await settle()
    early.turn.end()
    await early.go_on()
    other = await take(turns, "b")
    await late.go_on()
    late.turn.end()
    other.give_back()
    await settle()
    assert (early.task.done(), late.task.done(), turns.running, turns.waiting) == (True, True, 0, 0)


async def test_the_last_of_several_suspensions_at_the_same_time_takes_the_turn_again() -> None:
    turns = make_turns()
    turn, first, second = await take(turns, "a"), asyncio.Event(), asyncio.Event()

    async def wait(event: asyncio.Event) -> None:
        async with turn.suspend():
            await event.wait()

    tasks = [asyncio.create_task(wait(event)) for event in (first, second)]
    running = []
    for event in (first, second):
        event.set()
        await settle()
        running.append(turns.running)
    assert running == [0, 1]
    await asyncio.gather(*tasks)
    turn.end()
    await settle()
    assert turns.running == 0


async def test_a_request_without_a_turn_takes_none_by_suspending_it() -> None:
    turns = make_turns()
    async with Turn(ProcessTurns(turns, turns, turns), lambda: False).suspend():
        pass
    assert turns.running == 0


async def test_no_turn_is_held_while_a_duration_is_rounded_up() -> None:
    turns = make_turns()
    turn = await take(turns, "a")
    current_turn.set(turn)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), round_up_duration(10):
            assert turns.running == 1
    assert turns.running == 0


async def test_no_turn_is_held_while_a_call_runs_in_a_thread() -> None:
    turns, started, released = make_turns(), threading.Event(), threading.Event()
    turn = await take(turns, "a")
    current_turn.set(turn)

    def work() -> None:
        started.set()
        released.wait(5)

    running = asyncio.create_task(BoundedThreads(1, 0).run(work))
    assert await asyncio.to_thread(started.wait, 5)
    assert turns.running == 0
    released.set()
    await running
    assert turns.running == 1
