"""Answer browsers of other origins (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

A preflight carries no credential, so it is accepted from every origin that any organisation has listed. The response to
the request itself is readable only if the caller's own organisation has listed the origin. No cookies are involved.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection

import structlog

from app.core.expiring_cache import ExpiringCache
from app.core.web.refusals import Refusal

CACHED_SECONDS = 5.0
KNOWN_SECONDS = 3600.0  # for which the last result counts while the database cannot be read
MAX_ORIGINS = 10_000
MAX_LOOKUPS = 4  # at once: strangers choose the origins that are looked up
MAX_ORIGIN_LENGTH = 255

ORIGINS = "origins"  # in the state of the server: the `Origins` of the process
ALLOWS_ORIGIN = "allows_origin"  # in the request's state: the rule of the caller's organisation, once it is known

# Returns whether any organisation has listed the origin.
IsListed = Callable[[str], Awaitable[bool]]

_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")
VARY = (b"vary", b"Origin")
_EXPOSED_NAMES = (
    "Deprecation", "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "Sunset",
    "WWW-Authenticate", "X-Request-Id",
)  # fmt: skip
_EXPOSED = (b"access-control-expose-headers", ", ".join(_EXPOSED_NAMES).encode())
_PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match, If-None-Match, X-Org-Secret, X-Request-Id, "
    "X-Sign-Up-Token",
    "Access-Control-Max-Age": "600",
}
PREFLIGHT_HEADERS = [(name.lower().encode(), value.encode()) for name, value in _PREFLIGHT_HEADERS.items()]
ORIGIN_NOT_ALLOWED = Refusal(
    403,
    "origin_not_allowed",
    "Browsers of this origin are not allowed.",
    "No organisation allows browsers of this origin. An admin can add it to `allowedOrigins` with `PATCH /org`.",
)

log = structlog.get_logger("tessera.http")


class Origins:
    """The origins whose browsers may read responses.

    Args:
        always: origins that the deployment allows, for all organisations.
        is_listed: looks an origin up in the settings of the organisations.
    """

    def __init__(self, always: Collection[str], is_listed: IsListed) -> None:
        self._always = frozenset(always)
        self._is_listed = is_listed
        self._cache: ExpiringCache[bool] = ExpiringCache(seconds=CACHED_SECONDS, size=MAX_ORIGINS)
        self._known: ExpiringCache[bool] = ExpiringCache(seconds=KNOWN_SECONDS, size=MAX_ORIGINS)
        self._lookups: dict[str, asyncio.Task[bool]] = {}

    def is_always_allowed(self, origin: str) -> bool:
        """Return whether the deployment allows the origin."""
        return origin in self._always

    async def is_listed(self, origin: str) -> bool:
        """Return whether any organisation, or the deployment, allows the origin."""
        if origin in self._always:
            return True
        if len(origin) > MAX_ORIGIN_LENGTH or not _ORIGIN.fullmatch(origin):
            return False
        found = self._cache.get(origin)
        if found is not None:
            return found
        lookup = self._lookups.get(origin)
        if lookup is None:
            if len(self._lookups) >= MAX_LOOKUPS:
                return bool(self._known.get(origin))
            lookup = self._lookups[origin] = asyncio.create_task(self._look_up(origin))
            lookup.add_done_callback(lambda _: self._lookups.pop(origin))
        return await asyncio.shield(lookup)

    async def _look_up(self, origin: str) -> bool:
        try:
            found = await self._is_listed(origin)
        except Exception as error:  # noqa: BLE001 - without the database, the request itself fails, too
            log.warning("origins_unreadable", error=f"{type(error).__name__}: {error}"[:300])
            return bool(self._known.get(origin))
        self._cache.put(origin, found)
        self._known.put(origin, found)
        return found

    def invalidate(self) -> None:
        """Look origins up again, because an organisation has changed its own."""
        self._cache.clear()


def make_cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    """Make the headers that let browsers of an origin read a response."""
    return [(b"access-control-allow-origin", origin), _EXPOSED]
