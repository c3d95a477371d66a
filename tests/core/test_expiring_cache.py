"""The cache whose entries expire."""

from __future__ import annotations

import time

from app.core.expiring_cache import ExpiringCache


def test_an_entry_expires() -> None:
    cache: ExpiringCache[str] = ExpiringCache(seconds=0.05, size=10)
    cache.put("a", "b")
    assert cache.get("a") == "b"
    time.sleep(0.06)
    assert cache.get("a") is None


def test_reading_an_entry_does_not_prolong_it() -> None:
    cache: ExpiringCache[str] = ExpiringCache(seconds=0.1, size=10)
    cache.put("a", "b")
    until_then = time.monotonic() + 0.11
    while time.monotonic() < until_then:
        cache.get("a")
        time.sleep(0.01)
    assert cache.get("a") is None


def test_the_oldest_entry_is_dropped_when_the_cache_is_full() -> None:
    cache: ExpiringCache[int] = ExpiringCache(seconds=10, size=2)
    for number in range(3):
        cache.put(number, number)
    assert [cache.get(number) for number in range(3)] == [None, 1, 2]


def test_a_cleared_cache_is_empty() -> None:
    cache: ExpiringCache[int] = ExpiringCache(seconds=10, size=5)
    cache.put(1, 1)
    cache.clear()
    assert cache.get(1) is None
