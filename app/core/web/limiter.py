"""Limits on attempts, with the library `limits`: in memory, or in Redis to share them between processes."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from app.core.errors import TooMany, Unavailable
from app.core.web.limit_states import LimitState, announce_limit, note_attempt, note_refund

KNOWN_NETWORK_LIFETIME = 30 * 24 * 3600  # seconds

log = structlog.get_logger("tessera.limits")


class Limiter:
    """Count attempts by key.

    Args:
        redis_url: where the counts are stored; with `None`, each process counts in its own memory.
    """

    def __init__(self, redis_url: str | None) -> None:
        self._storage: Storage = (
            RedisStorage(f"async+{redis_url}", wrap_exceptions=True, implementation="redispy")
            if redis_url
            else MemoryStorage(wrap_exceptions=True)
        )
        self._strategy = SlidingWindowCounterRateLimiter(self._storage)

    async def count_or_refuse(self, rate: str, *key: str, announced: bool = True) -> None:
        """Count an attempt, or refuse it if the limit is reached.

        Args:
            key: the name of the limit, and whom it counts for.
            announced: whether the response announces the limit.

        Raises:
            TooMany: the limit is reached. `retry_after` has the seconds until the next attempt is allowed.
        """
        item = parse(rate)
        with _convert_storage_errors():
            is_counted = await self._strategy.hit(item, *key)
            state = await self._read_state(item, *key)
        if announced:
            announce_limit(state if is_counted else replace(state, remaining=0, reset=max(1, state.reset)))
        if not is_counted:
            raise TooMany(max(1, state.reset))
        note_attempt((rate, *key), partial(self.refund, rate, *key, announced=announced))

    async def announce(self, rate: str, *key: str) -> None:
        """Announce a limit without counting an attempt."""
        with _convert_storage_errors():
            announce_limit(await self._read_state(parse(rate), *key))

    async def count(self, rate: str, *key: str) -> None:
        """Count an attempt without refusing it."""
        with _convert_storage_errors():
            await self._strategy.hit(parse(rate), *key)

    async def is_used_up(self, rate: str, *key: str) -> bool:
        """Return whether the next attempt would be refused."""
        with _convert_storage_errors():
            return not await self._strategy.test(parse(rate), *key)

    async def refund(self, rate: str, *key: str, announced: bool = True) -> None:
        """Take back one counted attempt."""
        item = parse(rate)
        note_refund((rate, *key))
        with _convert_storage_errors():
            await self._strategy.hit(item, *key, cost=-1)
            if announced:
                announce_limit(await self._read_state(item, *key))

    async def _read_state(self, item: RateLimitItem, *key: str) -> LimitState:
        stats = await self._strategy.get_window_stats(item, *key)
        window = item.get_expiry()
        reset = min(max(0, math.ceil(stats.reset_time - time.time())), window)
        return LimitState(key[0], item.amount, window, max(0, stats.remaining), reset)

    async def remember_network(self, *key: str) -> None:
        """Remember for 30 days that a client of this network has signed in to this account."""
        with _convert_storage_errors():
            await self._storage.incr("/".join(("known-network", *key)), KNOWN_NETWORK_LIFETIME)

    async def is_known_network(self, *key: str) -> bool:
        """Return whether a client of this network has signed in to this account within the last 30 days."""
        with _convert_storage_errors():
            return await self._storage.get("/".join(("known-network", *key))) > 0


@contextmanager
def _convert_storage_errors() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        log.warning("limits_unreachable", error=str(error)[:300])
        raise Unavailable from None


@lru_cache(maxsize=4096)
def get_network(address: str | None) -> str:
    """Return the network that counts as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
