"""The waits between attempts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.core.outbox.backoff import Backoff, ExponentialBackoff

SECOND = timedelta(seconds=1)


def test_a_schedule_ends_after_its_last_wait() -> None:
    backoff = Backoff((SECOND, 5 * SECOND))

    assert [backoff.wait_after(attempt) for attempt in (1, 2, 3, 4)] == [SECOND, 5 * SECOND, None, None]
    assert backoff.max_attempts == 3


def test_jitter_adds_at_most_its_part_of_the_wait() -> None:
    backoff = Backoff((100 * SECOND,), jitter=0.2)
    waits = [wait for _ in range(200) if (wait := backoff.wait_after(1)) is not None]

    assert len(waits) == 200
    assert 100 * SECOND <= min(waits) < 105 * SECOND
    assert 115 * SECOND < max(waits) <= 120 * SECOND


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (100_000, 60)])
def test_exponential_waits_double_up_to_the_cap(attempt: int, seconds: int) -> None:
    assert ExponentialBackoff(first=5 * SECOND, cap=60 * SECOND).wait_after(attempt) == seconds * SECOND
