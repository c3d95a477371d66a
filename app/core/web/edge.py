"""The outermost layer of the web application: request ids, limits, log lines and metrics for all requests."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect

from app.core import telemetry
from app.core.request_turns import TURN, Turn, current_turn
from app.core.turns import CallerGone, ProcessTurns
from app.core.web.error_pace import ErrorPace
from app.core.web.exchange import ASSETS_PREFIX, CACHEABLE_PATHS, Exchange
from app.core.web.rate_limits import RESPONSE_HEADERS
from app.core.web.refusals import INTERNAL_ERROR, OVERLOADED, STOPPING, Refusal
from app.core.web.request_bodies import RequestBodies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping

    from prometheus_client import Counter, Histogram
    from starlette.types import ASGIApp, Receive, Scope, Send

    from app.core.config import Settings
    from app.core.web.cors import Origins

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"


class Edge:
    """Pass requests to the application within limits, and log and count all of them.

    Before the application sees a request, the edge can refuse it with 414 (RFC 9110, 15.5.15) or 431 (RFC 6585, 5).
    It reads the body, and can refuse it with 413 or 408 (RFC 9110, 15.5.14 and 15.5.9). Then it refuses the request
    with 503 and `Retry-After` if `max_concurrent_requests` are being served; long before that, the requests of a busy
    organisation wait for their turns (`core/turns.py`). An exception in the application is logged, and the response is
    a 500 that leaves the connection open. The edge makes the problem document of every 500, since the framework's own
    500 is plain text.

    Args:
        app: the application.
        body_limits: the maximum bytes of a body, by method and path, for operations with another limit than
            `max_body_bytes`.
        operational_paths: the paths that monitoring uses. They are served even under overload, and take no turns.
        origins: the origins whose browsers may read responses; `None` for none.
        announce_limits: notes the headers of a limited operation for the refusal of a request; `None` for none.
        turns: the turns of requests; made from the settings by default.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        body_limits: Mapping[tuple[str, str], int] | None = None,
        operational_paths: Collection[str] = (),
        origins: Origins | None = None,
        announce_limits: Callable[[Scope], Awaitable[None]] | None = None,
        turns: ProcessTurns | None = None,
    ) -> None:
        self.app = app
        self.operational_paths = operational_paths
        self.max_concurrent = settings.max_concurrent_requests
        self.turns = turns or ProcessTurns.from_settings(settings)
        self._bodies = RequestBodies(
            settings.max_body_bytes, body_limits or {}, settings.body_timeout, settings.max_buffered_bytes
        )
        self._error_pace = ErrorPace()
        self._origins, self._announce = origins, announce_limits
        self._log = structlog.get_logger("tessera.http")
        self._in_flight = 0
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other protocols than HTTP are passed to the application unchanged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_operational = scope["path"] in self.operational_paths
        exchange = Exchange(self._bodies, scope, receive, send, None if is_operational else self._hold_error)
        telemetry.IN_FLIGHT.inc()
        self._in_flight += 1
        try:
            refusal = (
                await self._check_origin(exchange)
                or exchange.check_head()
                or await self._serve(exchange, is_operational=is_operational)
            )
            if refusal is not None:
                await self._announce_limits(exchange)
                await exchange.send_refusal(refusal)
        finally:
            if exchange.turn is not None:
                exchange.turn.end()
            if exchange.has_body:
                exchange.release_body()
            telemetry.IN_FLIGHT.dec()
            self._in_flight -= 1
            self._report(exchange)
        if exchange.must_linger:
            await exchange.linger()

    async def _announce_limits(self, exchange: Exchange) -> None:
        """Announce the limits of the operation, if it has not done so itself."""
        if self._announce is not None and RESPONSE_HEADERS not in exchange.state:
            await self._announce(exchange.scope)

    async def _check_origin(self, exchange: Exchange) -> Refusal | None:
        """Find out what the origin of the page allows, if a page sent the request."""
        if not exchange.origin or self._origins is None:
            return None
        return await exchange.check_origin(self._origins)

    async def _hold_error(self, key: Hashable) -> None:
        await self._error_pace.hold(key, self._in_flight - self._bodies.unfinished)

    async def _serve(self, exchange: Exchange, *, is_operational: bool) -> Refusal | None:
        """Read the body and run the application; return the refusal to send instead of its response, if any."""
        if exchange.origin_is_listed and exchange.is_preflight:
            await exchange.send_preflight()
            return None
        try:
            if exchange.has_body and (refusal := await exchange.read_body()):
                return refusal
            if exchange.client_is_gone:
                return None
            if not is_operational:
                if self._in_flight - self._bodies.unfinished - self._error_pace.held > self.max_concurrent:
                    return OVERLOADED
                exchange.turn = exchange.scope[TURN] = turn = Turn(self.turns, exchange.has_lost_client)
                current_turn.set(turn)
            # A request without a body has nothing to receive, so the server's `receive` is used without a wrapper.
            receive = exchange.receive if exchange.has_body else exchange.server_receive
            await self.app(exchange.scope, receive, exchange.send)
        except (ClientDisconnect, CallerGone):
            exchange.client_is_gone = True
        except asyncio.CancelledError:  # the server is stopping and waits no longer
            return None if exchange.started or exchange.client_is_gone else STOPPING
        except Exception as error:  # noqa: BLE001 - every exception gets a response
            self._log.error("unhandled_error", request_id=exchange.request_id, exc_info=error)
        # A response that has started cannot be replaced. The server closes the connection, so that the client notices.
        return None if exchange.started or exchange.client_is_gone else INTERNAL_ERROR

    def _report(self, exchange: Exchange) -> None:
        seconds = perf_counter() - exchange.started_at
        method = exchange.method if exchange.method in METHODS else "OTHER"
        route, status = _find_route_label(exchange.scope), exchange.status
        try:
            counter, histogram = self._counters[method, route, status], self._histograms[method, route]
        except KeyError:
            # Labels are path templates, known methods and statuses only, so that the dictionaries stay small.
            counter = self._counters[method, route, status] = telemetry.REQUESTS.labels(method, route, status)
            histogram = self._histograms[method, route] = telemetry.LATENCY.labels(method, route)
        counter.inc()
        histogram.observe(seconds)
        org_id = exchange.state.get("org_id")
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 2),
            org_id=None if org_id is None else str(org_id),
            request_id=exchange.request_id,
        )


def _find_route_label(scope: Scope) -> str:
    """Return the path template of the route that served the request."""
    if template := getattr(scope.get("route"), "path", None):
        return str(template)
    path = scope["path"]
    if path in CACHEABLE_PATHS:
        return str(path)
    return ASSETS_PREFIX if path.startswith(ASSETS_PREFIX) else UNMATCHED
