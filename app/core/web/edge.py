"""The outermost layer of the web application: request ids, limits, log lines and metrics for all requests."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.core import telemetry
from app.core.ids import new_id
from app.core.web.problems import CODES_BY_STATUS, make_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from prometheus_client import Counter, Histogram
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.core.config import Settings

MAX_URL_BYTES = 8 * 1024  # path and query; RFC 9110 (4.1) asks for 8,000 at least
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024  # names and values together
LINGER_TIMEOUT = 1.0  # seconds for which the rest of a refused body is read
CLIENT_GONE_STATUS = 499  # nginx's status for a client that disconnects before the response

# Of all operations that are deprecated: the release in which they were, as a date of RFC 9651.
DEPRECATION = f"@{int(datetime(2026, 11, 27, tzinfo=UTC).timestamp())}"
CLOSE = {"Connection": "close"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"

_VALID_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CACHEABLE = frozenset({"/docs", "/redoc", "/openapi.json"})
_ASSETS = "/static-offline-docs/"
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_DOCUMENTATION_PAGES = frozenset({"/docs", "/redoc"})
# The pages load nothing from other hosts (Redoc would load a logo), and no other page can frame them.
_CONTENT_SECURITY_POLICY = (
    b"content-security-policy",
    (
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
    ),
)


class Refusal(NamedTuple):
    """A problem document (RFC 9457) that the edge sends itself."""

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] | None = None


class BodyRefused(HTTPException):
    """The body is too large (413) or too slow (408). Raised while the application reads it.

    It is an `HTTPException` because FastAPI turns all other exceptions while reading a body into a 400.
    """


INTERNAL_ERROR = Refusal(
    500,
    "internal_error",
    "The service failed unexpectedly.",
    "The service failed, and logged the request id. Try again, and report the id if it fails again.",
)
OVERLOADED = Refusal(
    503,
    "overloaded",
    "The service is overloaded.",
    "The service has too many requests. Send this one again after the seconds in Retry-After.",
    {"Retry-After": "1"},
)
STOPPING = Refusal(
    503,
    "unavailable",
    "The service is temporarily unavailable. Try again shortly.",
    "The service is stopping. Send the request again after the seconds in Retry-After.",
    {"Retry-After": "1", "Connection": "close"},
)
URI_TOO_LONG = Refusal(
    414,
    "uri_too_long",
    "The address is too long.",
    f"Path and query may have at most {MAX_URL_BYTES} bytes. Send less.",
)
HEADERS_TOO_LARGE = Refusal(
    431,
    "headers_too_large",
    "The request's headers are too large.",
    f"A request may have at most {MAX_HEADERS} headers with {MAX_HEADER_BYTES} bytes in all. Send less.",
)


class Edge:
    """Pass requests to the application within limits, and log and count all of them.

    A request is refused before the application sees it with 414 (RFC 9110, 15.5.15), 431 (RFC 6585, 5), 413, or, if
    more than `max_concurrent_requests` are being served, 503 with `Retry-After`. While the application reads the body,
    it is refused with 413 or 408 (RFC 9110, 15.5.14 and 15.5.9). An exception in the application is logged and answered
    with a 500 that leaves the connection open. The edge makes the problem document of every 500, since the framework's
    own 500 is plain text.

    Args:
        app: the application.
        body_limits: the maximum bytes of a body, by method and path, where it differs from `max_body_bytes`.
        operational_paths: those by which the service is watched: they are served even under overload.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        body_limits: Mapping[tuple[str, str], int] | None = None,
        operational_paths: Collection[str] = (),
    ) -> None:
        self.app = app
        self.max_body_bytes = settings.max_body_bytes
        self.body_limits = body_limits or {}
        self.operational_paths = operational_paths
        self.body_timeout = settings.body_timeout
        self.max_concurrent = settings.max_concurrent_requests
        self.body_too_slow = Refusal(
            408, *CODES_BY_STATUS[408], f"The body must arrive within {self.body_timeout:g} s.", CLOSE
        )
        self._log = structlog.get_logger("tessera.http")
        self._serving = 0
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Other protocols than HTTP are passed to the application unchanged."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        telemetry.IN_FLIGHT.inc()
        try:
            refusal = exchange.check_head() or await self._serve(exchange)
            if refusal is not None:
                await exchange.send_refusal(refusal)
        finally:
            telemetry.IN_FLIGHT.dec()
            self._report(exchange)
        if exchange.must_linger:
            await exchange.linger()

    async def _serve(self, exchange: _Exchange) -> Refusal | None:
        """Let the application respond; return the refusal to send in its place, if any."""
        if exchange.is_operational:
            return await self._run(exchange)
        if self._serving >= self.max_concurrent:
            return OVERLOADED
        self._serving += 1
        try:
            return await self._run(exchange)
        finally:
            self._serving -= 1

    async def _run(self, exchange: _Exchange) -> Refusal | None:
        try:
            # A request without a body has nothing to limit, and the server's own `receive` costs nothing.
            receive = exchange.receive if exchange.has_body else exchange.server_receive
            await self.app(exchange.scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.client_is_gone = True
        except asyncio.CancelledError:  # the server is stopping and waits no longer
            return None if exchange.started or exchange.client_is_gone else STOPPING
        except Exception as error:  # noqa: BLE001 - every exception is answered
            # The framework sends its own 500 before it raises. A refused body is expected.
            if exchange.refusal is None or exchange.refusal is INTERNAL_ERROR:
                self._log.error("unhandled_error", request_id=exchange.request_id, exc_info=error)
        # A response that has started cannot be replaced. The server closes the connection, which tells the client.
        return None if exchange.started or exchange.client_is_gone else exchange.refusal or INTERNAL_ERROR

    def _report(self, exchange: _Exchange) -> None:
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


class _Exchange:
    """One request and its response, as the application sees them."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self.started_at = perf_counter()
        self.method: str = scope["method"]
        # HEAD is answered like GET (RFC 9110, 9.3.2), without the body.
        self.scope = {**scope, "method": "GET"} if self.method == "HEAD" else scope
        self._edge, self.server_receive, self._send = edge, receive, send
        self.refusal: Refusal | None = None  # sent in place of the application's response
        self.status = CLIENT_GONE_STATUS
        self.started = self.must_linger = self.client_is_gone = False
        self._is_read = False  # whether the whole body has arrived
        self._received_bytes = 0  # of the body
        self._seconds_left = edge.body_timeout  # to wait for the body
        path: str = scope["path"]
        self._max_body_bytes = edge.body_limits.get((self.method, path), edge.max_body_bytes)
        self.is_operational = path in edge.operational_paths
        self.request_id = self._read_headers() or new_id().hex
        # Always a copy: the organisation of one request must not leak into another.
        self.state: dict[str, Any] = {**scope.get("state", {})}
        self.scope["state"] = self.state
        self.state["request_id"] = self.request_id
        # All log lines of this task get the request id. Cleared first: a task can inherit the id of an earlier request
        # of the same connection.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)

    def _read_headers(self) -> str | None:
        """Read the headers that the edge needs in one pass; return the caller's request id if it is valid."""
        size, self.content_length, self.has_body, request_id = 0, 0, False, None
        for name, value in self.scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                self.content_length = int(value) if value.isdigit() else 0
                self.has_body = self.has_body or self.content_length > 0
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"x-request-id" and _VALID_REQUEST_ID.fullmatch(value):
                request_id = value.decode()
        self.head_bytes = size
        return request_id

    def check_head(self) -> Refusal | None:
        """Return the reason to refuse the request before its body is read, if there is one."""
        scope = self.scope
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return URI_TOO_LONG
        if self.head_bytes > MAX_HEADER_BYTES or len(scope["headers"]) > MAX_HEADERS:
            return HEADERS_TOO_LARGE
        return self._too_large if self.content_length > self._max_body_bytes else None

    async def receive(self) -> Message:
        """Receive the next part of the body within its limits, or, after the last one, a disconnect.

        Only the time spent waiting for the client counts, not the work of the application between two parts.

        Raises:
            BodyRefused: the body is too large or too slow.
        """
        if self._is_read:
            return await self.server_receive()
        began = perf_counter()
        try:
            async with asyncio.timeout(self._seconds_left):
                message = await self.server_receive()
        except TimeoutError:
            raise self._refuse_body(self._edge.body_too_slow) from None
        self._seconds_left -= perf_counter() - began
        if message["type"] == "http.disconnect":
            self.client_is_gone = True
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._max_body_bytes:
            raise self._refuse_body(self._too_large)
        self._is_read = not message.get("more_body", False)
        return message

    @property
    def _too_large(self) -> Refusal:
        return Refusal(413, *CODES_BY_STATUS[413], f"The body may have at most {self._max_body_bytes} bytes.", CLOSE)

    def _refuse_body(self, refusal: Refusal) -> BodyRefused:
        self.refusal = refusal
        return BodyRefused(refusal.status, refusal.title)

    async def send(self, message: Message) -> None:
        """Pass the application's response on with our headers, or drop it if the edge sends a refusal."""
        if message["type"] == "http.response.start":
            if message["status"] == INTERNAL_ERROR.status and self.refusal is None:
                self.refusal = INTERNAL_ERROR
            # A client that disconnected while sending its body gets no response: it would be logged as a 400.
            if self.refusal is None and not self.client_is_gone:
                await self._start(message)
        elif self.started:
            await self._send({**message, "body": b""} if self.method == "HEAD" else message)

    async def _start(self, message: Message) -> None:
        self.started = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode()), _NOSNIFF]
        if getattr(self.scope.get("route"), "deprecated", False):
            headers.append((b"deprecation", DEPRECATION.encode()))
        path = self.scope["path"]
        may_be_stored = path in _CACHEABLE or path.startswith(_ASSETS)
        if not may_be_stored and not any(name == b"cache-control" for name, _ in headers):
            headers.append(_NO_STORE)
        if path in _DOCUMENTATION_PAGES:
            headers.append(_CONTENT_SECURITY_POLICY)
        await self._send({**message, "headers": headers})

    async def send_refusal(self, refusal: Refusal) -> None:
        """Send a refusal. If it closes the connection, `linger` sends the end of the response."""
        status, code, title, detail, headers = refusal
        response = make_problem(status, code, title, detail, self.request_id, headers=headers)
        self.must_linger = status in {408, 413}
        await self._start({"type": "http.response.start", "status": status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": response.body, "more_body": self.must_linger})

    async def linger(self) -> None:
        """Read the rest of a refused body for a while, then end the response.

        If the connection were closed with unread data, many clients would lose the response (RFC 9112, 9.6).
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_TIMEOUT):
                while (await self.server_receive()).get("more_body", False):
                    pass
        await self._send({"type": "http.response.body", "body": b""})


def _find_route_label(scope: Scope) -> str:
    """Return the path template of the route that served the request."""
    if template := getattr(scope.get("route"), "path", None):
        return str(template)
    path = scope["path"]
    if path in _CACHEABLE:
        return str(path)
    return _ASSETS if path.startswith(_ASSETS) else UNMATCHED
