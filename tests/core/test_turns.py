"""Turns: the bounds in all and per organisation, the queues and their rotation, and their ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from app.core.config import Settings
from app.core.request_turns import Turn
from app.core.turns import LONE_AFTER, CallerGone, Overloaded, ProcessTurns, RequestTurns
from tests.core.taking_turns import Requests, make_turns, settle, take


def try_to_take(turns: RequestTurns, key: str, is_gone: Callable[[], bool] = lambda: False) -> Awaitable[None] | None:
    return Turn(ProcessTurns(turns, turns, turns), is_gone).take(turns, key)


async def test_a_free_turn_is_taken_without_waiting() -> None:
    turns = make_turns()
    assert try_to_take(turns, "a") is None
    assert (turns.running, turns.waiting) == (1, 0)


async def test_an_organisation_waits_beyond_its_share_and_another_does_not() -> None:
    requests = Requests(turns := make_turns())
    tasks = [requests.start(name) for name in ("a1", "a2", "a3", "a4", "b1")]
    await settle()
    assert requests.served == ["a1", "a2", "b1"]
    assert (turns.running, turns.waiting) == (3, 2)
    await requests.end("a1")
    await requests.end("a2")
    assert requests.served[3:] == ["a3", "a4"]
    await asyncio.gather(*tasks)


async def test_the_queues_are_served_in_rotation() -> None:
    requests = Requests(make_turns(total=1, share=1))
    tasks = [requests.start(name) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
    await settle()
    for name in ("a1", "b1", "c1", "a2", "b2"):
        await requests.end(name)
    assert requests.served == ["a1", "b1", "c1", "a2", "b2", "a3"]
    await asyncio.gather(*tasks)


async def test_a_full_queue_refuses_the_requests_of_its_organisation_alone() -> None:
    requests = Requests(turns := make_turns(queue_size=1))
    tasks = [requests.start(name) for name in ("a1", "a2", "a3")]
    await settle()
    with pytest.raises(Overloaded):
        await take(turns, "a")
    assert try_to_take(turns, "b") is None
    await requests.end("a1")
    await asyncio.gather(*tasks)
    assert requests.served == ["a1", "a2", "a3"]


async def test_a_request_that_waits_too_long_is_refused() -> None:
    turns = make_turns(share=1, timeout=0.1)
    first = await take(turns, "a")
    with pytest.raises(Overloaded):
        await take(turns, "a")
    assert turns.waiting == 0
    first.give_back()
    await settle()
    assert try_to_take(turns, "a") is None


async def test_a_cancelled_request_leaves_its_queue() -> None:
    requests = Requests(turns := make_turns(share=1))
    tasks = [requests.start(name) for name in ("a1", "a2", "a3")]
    await settle()
    tasks[1].cancel()
    await settle()
    assert turns.waiting == 1
    await requests.end("a1")
    assert requests.served == ["a1", "a3"]


async def test_a_request_cancelled_just_after_it_got_its_turn_gives_it_back() -> None:
    requests = Requests(turns := make_turns(share=1))
    first, second = requests.start("a1"), requests.start("a2")
    await settle()
    requests.open.pop("a1").give_back()
    await asyncio.sleep(0)  # the turn is granted, but its request does not run yet
    assert (turns.waiting, requests.served) == (0, ["a1"])
    second.cancel()
    await asyncio.wait([first, second])
    await settle()
    assert (requests.served, turns.running) == (["a1"], 0)


async def test_a_request_whose_client_has_gone_leaves_its_queue() -> None:
    turns, gone = make_turns(share=1), asyncio.Event()
    first = await take(turns, "a")
    waiting = try_to_take(turns, "a", gone.is_set)
    assert waiting is not None
    waiter = asyncio.ensure_future(waiting)
    await settle()
    gone.set()
    with pytest.raises(CallerGone):
        await waiter
    assert turns.waiting == 0
    first.give_back()
    await settle()
    assert turns.running == 0


async def test_a_turn_ends_once() -> None:
    turns = make_turns()
    turn, other = await take(turns, "a"), await take(turns, "a")
    for _ in range(3):
        turn.give_back()
    await settle()
    assert turns.running == 1
    other.give_back()
    await settle()
    assert turns.running == 0


async def test_a_request_keeps_the_turn_that_it_has() -> None:
    turns = make_turns()
    turn = await take(turns, "a")
    assert turn.take(turns, "a") is None
    assert turn.take(turns, "b") is None
    assert turns.running == 1


async def test_turns_of_requests_that_never_wait_end_with_the_next_pass_of_the_event_loop() -> None:
    turns = make_turns()
    for _ in range(2):
        (await take(turns, "a")).give_back()
    third = try_to_take(turns, "a")
    assert third is not None
    await asyncio.wait_for(asyncio.ensure_future(third), 1)


async def test_strangers_and_lookups_take_no_turns_of_organisations() -> None:
    turns = ProcessTurns.from_settings(Settings(_env_file=None, database_pool_size=5))
    strangers = [Turn(turns, lambda: False).take(turns.strangers, network) for network in ("192.0.2.1", "192.0.2.2")]
    lookup = Turn(turns, lambda: False).take(turns.lookups, "192.0.2.1")
    assert [strangers[0], lookup] == [None, None]
    assert strangers[1] is not None, "there is one turn for strangers"
    assert (turns.organisations.running, turns.running) == (0, 2)
    waiter = asyncio.ensure_future(strangers[1])
    await settle()
    waiter.cancel()


@pytest.mark.parametrize(("size", "expected"), [(1, (1, 1)), (2, (2, 1)), (5, (4, 1)), (10, (8, 2)), (50, (40, 10))])
async def test_the_share_of_an_organisation_depends_on_the_size_of_the_pool(
    size: int, expected: tuple[int, int]
) -> None:
    turns = ProcessTurns.from_settings(Settings(_env_file=None, database_pool_size=size)).organisations
    requests = Requests(turns)
    tasks = [requests.start(f"{key}{number}") for key in "abcdef" for number in range(size)]
    await settle()
    served = Counter(name[0] for name in requests.served)
    assert (served.total(), served["a"]) == expected
    for task in tasks:
        task.cancel()


async def test_a_lone_organisation_may_use_more_turns_until_another_one_comes() -> None:
    requests = Requests(turns := make_turns(lone_share=3))
    tasks = [requests.start(name) for name in ("a1", "a2", "a3", "a4", "a5")]
    await settle()
    assert requests.served == ["a1", "a2"], "others may have come just before"
    async with asyncio.timeout(LONE_AFTER + 1):
        while len(requests.served) < 3:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
    assert turns.running == 3
    assert try_to_take(turns, "b") is None, "there is a turn left for another"
    await requests.end("a1")
    assert requests.served == ["a1", "a2", "a3"]
    await requests.end("a2")
    assert requests.served == ["a1", "a2", "a3", "a4"]
    await requests.end("a3")
    await asyncio.gather(*tasks)
