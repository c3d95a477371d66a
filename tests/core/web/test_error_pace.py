"""Errors are held back only if there are very many, and only for a while."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from app.core.web.error_pace import BURST, CALM, MAX_DELAY, MAX_ERRORS_PER_SECOND, MAX_NETWORKS, MIN_BURST, ErrorPace

MANY = 1000  # concurrent requests
FLOODING = "192.0.2.1"


async def measure_seconds(pace: ErrorPace, errors: int, key: str = FLOODING) -> float:
    """Send errors at the same time; return the seconds until the last one is sent."""
    began = time.monotonic()
    await asyncio.gather(*(pace.hold(key, MANY) for _ in range(errors)))
    return time.monotonic() - began


async def test_a_client_that_sends_one_request_at_a_time_never_waits() -> None:
    pace, began = ErrorPace(), time.monotonic()
    for _ in range(5 * BURST):
        await pace.hold(FLOODING, CALM)
    assert time.monotonic() - began < 0.2


async def test_a_burst_of_errors_is_sent_at_once() -> None:
    assert await measure_seconds(ErrorPace(), BURST) < 0.2


async def test_further_errors_are_sent_at_the_pace() -> None:
    pace, further = ErrorPace(), MAX_ERRORS_PER_SECOND // 2
    sending = asyncio.create_task(measure_seconds(pace, BURST + further))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert further - 1 <= pace.held <= further
    assert 0.4 < await sending < 0.9
    assert pace.held == 0


async def test_no_error_is_held_for_longer_than_the_longest_delay() -> None:
    pace = ErrorPace()
    for _ in range(2):
        assert await measure_seconds(pace, 10 * MAX_ERRORS_PER_SECOND) < MAX_DELAY + 0.3
    assert pace.held == 0


async def test_errors_that_are_held_for_long_are_sent_one_by_one() -> None:
    pace, sent = ErrorPace(), Counter[int]()

    async def send() -> None:
        await pace.hold(FLOODING, MANY)
        sent[int(time.monotonic() * 10)] += 1  # by tenths of a second

    await asyncio.gather(*(send() for _ in range(10 * MAX_ERRORS_PER_SECOND)))
    assert sent.most_common(1)[0][1] < 3 * MAX_ERRORS_PER_SECOND


async def test_a_flood_of_errors_does_not_delay_those_of_another_network() -> None:
    pace = ErrorPace()
    flood = asyncio.create_task(measure_seconds(pace, 10 * MAX_ERRORS_PER_SECOND))
    await asyncio.sleep(0.01)
    assert pace.held > MAX_ERRORS_PER_SECOND
    assert await measure_seconds(pace, BURST // 2, "192.0.2.2") < 0.2
    assert await flood > MAX_DELAY / 2


async def test_a_flood_from_many_networks_does_not_delay_the_few_errors_of_another() -> None:
    pace = ErrorPace()
    floods = [asyncio.create_task(measure_seconds(pace, 4 * MIN_BURST, f"198.51.100.{n}")) for n in range(50)]
    await asyncio.sleep(0.01)
    assert pace.held > MAX_ERRORS_PER_SECOND
    assert await measure_seconds(pace, MIN_BURST, "192.0.2.2") < 0.2
    await asyncio.gather(*floods)


async def test_a_bounded_number_of_networks_is_told_apart() -> None:
    pace = ErrorPace()
    sending = [asyncio.create_task(pace.hold(f"{number}", MANY)) for number in range(3 * MAX_NETWORKS)]
    await asyncio.wait(sending)
    assert len(pace._due_at_of) <= MAX_NETWORKS
