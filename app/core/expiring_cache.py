"""A small in-memory cache with entries that expire."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class ExpiringCache(Generic[V]):
    """A cache that keeps an entry for `seconds`, and drops expired ones, and the oldest one beyond `size`."""

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, or `None` if there is none or it has expired."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1]

    def put(self, key: Hashable, value: V) -> None:
        """Store a value; its time starts now."""
        now = time.monotonic()
        self._entries.pop(key, None)
        self._entries[key] = (now + self._seconds, value)
        # The first entries are the oldest.
        while len(self._entries) > self._size or next(iter(self._entries.values()))[0] < now:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Remove all entries."""
        self._entries.clear()
