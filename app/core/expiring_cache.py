"""A small cache whose entries expire."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

V = TypeVar("V")


# --- remembering briefly -------------------------------------------------------------------------


class ExpiringCache(Generic[V]):
    """A small cache whose entries live for `seconds`; the oldest goes when there are more than `size`."""

    def __init__(self, *, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._size = size
        self._entries: OrderedDict[Hashable, tuple[float, V]] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """The value, unless it is unknown or too old."""
        entry = self._entries.get(key)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry[1]

    def put(self, key: Hashable, value: V) -> None:
        """Remember a value from now on."""
        self._entries.pop(key, None)
        self._entries[key] = (time.monotonic() + self._seconds, value)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def discard(self, is_meant: Callable[[Any, V], bool]) -> None:
        """Forget those entries of whose key and value this is true."""
        for key in [key for key, (_, value) in self._entries.items() if is_meant(key, value)]:
            del self._entries[key]
