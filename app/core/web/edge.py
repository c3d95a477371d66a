"""What every HTTP exchange passes through: its request id, its limits, its log line and its metrics."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.core import telemetry
from app.core.ids import new_id
from app.core.web.problems import CODE_OF, problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import Counter, Histogram
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.core.config import Settings

MAX_URL_BYTES = 8 * 1024  # path and query; RFC 9110 (4.1) asks for 8,000 at least
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024  # names and values together
LINGER = 1.0  # seconds that a client may go on sending a body which was refused
NO_ANSWER = 499  # nginx's number for a client that went away before its answer

CLOSE = {"Connection": "close"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CACHEABLE = frozenset({"/docs", "/redoc", "/openapi.json"})
_ASSETS = "/static-offline-docs/"
_CACHEABLE_BELOW = ("/docs/", _ASSETS)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_PAGES = frozenset({"/docs", "/redoc"})
# They fetch nothing from elsewhere (Redoc would like to, for its maker's logo), and nobody frames them.
_KEEP_TO_OURSELVES = (
    b"content-security-policy",
    (
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self' data:; worker-src blob:; base-uri 'none'; frame-ancestors 'none'"
    ),
)


class Refusal(NamedTuple):
    """An answer that the edge makes itself, as a problem document (RFC 9457)."""

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] | None = None


class BodyRefused(HTTPException):
    """Raised to whoever reads a body that is too large (413) or too slow (408).

    It is an `HTTPException` because FastAPI turns every other exception in reading a body into a 400.
    """


INTERNAL_ERROR = Refusal(
    500, "internal_error", "Something went wrong on our side.", "It has been logged under this request id."
)
OVERLOADED = Refusal(
    503, "overloaded", "The service has too much to do right now.", "Try again in a second.", {"Retry-After": "1"}
)
STOPPING = Refusal(
    503,
    "unavailable",
    "The service is temporarily unavailable: try again shortly.",
    "It is being stopped.",
    {"Retry-After": "1", "Connection": "close"},
)
URI_TOO_LONG = Refusal(
    414, "uri_too_long", "The address is too long.", f"Path and query may have {MAX_URL_BYTES} bytes."
)
HEADERS_TOO_LARGE = Refusal(
    431,
    "headers_too_large",
    "The request's headers are too large.",
    f"A request may have {MAX_HEADERS} headers, and {MAX_HEADER_BYTES} bytes of them.",
)


class Edge:
    """The outermost ASGI application; `app` is the whole of FastAPI.

    An exchange is refused, before the app sees it, with 414 (RFC 9110, 15.5.15), 431 (RFC 6585, 5), 413 or, beyond
    `max_concurrent_requests` at once, 503 with `Retry-After`; while its body is read, with 413 or 408 (RFC 9110,
    15.5.14 and 15.5.9). An exception of the app's is logged, and answered as a 500 that leaves the connection open.
    Every 500 is the edge's own document: what the framework would say in its place is not one.

    Args:
        body_limits: by method and path, how many bytes a body may have where that is not `max_body_bytes`.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, body_limits: Mapping[tuple[str, str], int] | None = None
    ) -> None:
        self.app = app
        self.max_body_bytes = settings.max_body_bytes
        self.body_limits = body_limits or {}
        self.body_timeout = settings.body_timeout
        self.max_concurrent = settings.max_concurrent_requests
        self.body_too_slow = Refusal(408, *CODE_OF[408], f"A body must arrive within {self.body_timeout:g} s.", CLOSE)
        self._log = structlog.get_logger("tessera.http")
        self._serving = 0
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange; what is not HTTP passes through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(self, scope, receive, send)
        telemetry.IN_FLIGHT.inc()
        try:
            refusal = exchange.refusal_of_the_head() or await self._serve(exchange)
            if refusal is not None:
                await exchange.answer(refusal)
        finally:
            telemetry.IN_FLIGHT.dec()
            self._report(exchange)
        if exchange.lingers:
            await exchange.linger()

    async def _serve(self, exchange: _Exchange) -> Refusal | None:
        """Let the app answer, and say what must be answered in its place, if anything."""
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
            # A request without a body has nothing to limit: the server's own `receive` costs nothing.
            receive = exchange.receive if exchange.has_body else exchange.server_receive
            await self.app(exchange.scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.is_gone = True
        except asyncio.CancelledError:  # the server stops, and does not wait any longer
            return None if exchange.started or exchange.is_gone else STOPPING
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            # The framework answers 500 itself before it raises; a refused body is no news.
            if exchange.refusal is None or exchange.refusal is INTERNAL_ERROR:
                self._log.error("unhandled_error", request_id=exchange.request_id, exc_info=error)
        # Half an answer is left so: the server then closes the connection, which is the only way to tell the client.
        return None if exchange.started or exchange.is_gone else exchange.refusal or INTERNAL_ERROR

    def _report(self, exchange: _Exchange) -> None:
        seconds = perf_counter() - exchange.began
        method = exchange.method if exchange.method in METHODS else "OTHER"
        route, status = _template(exchange.scope), exchange.status
        try:
            counter, histogram = self._counters[method, route, status], self._histograms[method, route]
        except KeyError:
            # Only templates, known methods and statuses are labels, so neither dictionary grows without end.
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
    """One request and its answer, as the app sees them."""

    def __init__(self, edge: Edge, scope: Scope, receive: Receive, send: Send) -> None:
        self.began = perf_counter()
        self.method: str = scope["method"]
        # What answers GET answers HEAD (RFC 9110, 9.3.2), less the body.
        self.scope = {**scope, "method": "GET"} if self.method == "HEAD" else scope
        self._edge, self.server_receive, self._send = edge, receive, send
        self.refusal: Refusal | None = None  # what is answered in the app's place
        self.status = NO_ANSWER
        self.started = self.lingers = self.is_gone = False
        self._is_read = False  # the whole body
        self._received = 0  # bytes of it
        self._patience = edge.body_timeout  # seconds left to wait for it
        path: str = scope["path"]
        self._max_body_bytes = edge.body_limits.get((self.method, path), edge.max_body_bytes)
        self.is_operational = path.startswith("/health/") or path == "/metrics"
        self.request_id = self._read_headers() or new_id().hex
        # A copy of its own, whatever the server does: one request's organisation is no other's.
        self.state: dict[str, Any] = {**scope.get("state", {})}
        self.scope["state"] = self.state
        self.state["request_id"] = self.request_id
        # So that whatever else is logged in this task says which request it belongs to. Cleared first: a task can
        # inherit what an earlier request of the same connection has bound.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)

    def _read_headers(self) -> str | None:
        """Take what matters from the headers in one pass; returns the caller's request id if it is a sane one."""
        size, self.content_length, self.has_body, request_id = 0, 0, False, None
        for name, value in self.scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                self.content_length = int(value) if value.isdigit() else 0
                self.has_body = self.has_body or self.content_length > 0
            elif name == b"transfer-encoding":
                self.has_body = True
            elif name == b"x-request-id" and _SANE_ID.fullmatch(value):
                request_id = value.decode()
        self.head_bytes = size
        return request_id

    def refusal_of_the_head(self) -> Refusal | None:
        """What there is to refuse before the first byte of the body."""
        scope = self.scope
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return URI_TOO_LONG
        if self.head_bytes > MAX_HEADER_BYTES or len(scope["headers"]) > MAX_HEADERS:
            return HEADERS_TOO_LARGE
        return self._too_large if self.content_length > self._max_body_bytes else None

    async def receive(self) -> Message:
        """The next part of the body, within its limits; once it is whole, what the server has to say (a disconnect).

        Only the time spent waiting for the client counts, not what the app does between two parts.

        Raises:
            BodyRefused: the body is too large or too slow.
        """
        if self._is_read:
            return await self.server_receive()
        began = perf_counter()
        try:
            async with asyncio.timeout(self._patience):
                message = await self.server_receive()
        except TimeoutError:
            raise self._refused(self._edge.body_too_slow) from None
        self._patience -= perf_counter() - began
        if message["type"] == "http.disconnect":
            self.is_gone = True
        self._received += len(message.get("body", b""))
        if self._received > self._max_body_bytes:
            raise self._refused(self._too_large)
        self._is_read = not message.get("more_body", False)
        return message

    @property
    def _too_large(self) -> Refusal:
        return Refusal(413, *CODE_OF[413], f"A body may have {self._max_body_bytes} bytes.", CLOSE)

    def _refused(self, refusal: Refusal) -> BodyRefused:
        self.refusal = refusal
        return BodyRefused(refusal.status, refusal.title)

    async def send(self, message: Message) -> None:
        """Pass the app's answer on, with our headers; drop it where the edge has another one to give."""
        if message["type"] == "http.response.start":
            if message["status"] == INTERNAL_ERROR.status and self.refusal is None:
                self.refusal = INTERNAL_ERROR
            # An answer to a client that left in the middle of its body would be logged as a 400 that nobody got.
            if self.refusal is None and not self.is_gone:
                await self._start(message)
        elif self.started:
            await self._send({**message, "body": b""} if self.method == "HEAD" else message)

    async def _start(self, message: Message) -> None:
        self.started = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode()), _NOSNIFF]
        path = self.scope["path"]
        may_be_stored = path in _CACHEABLE or path.startswith(_CACHEABLE_BELOW)
        if not may_be_stored and not any(name == b"cache-control" for name, _ in headers):
            headers.append(_NO_STORE)
        if path in _PAGES:
            headers.append(_KEEP_TO_OURSELVES)
        await self._send({**message, "headers": headers})

    async def answer(self, refusal: Refusal) -> None:
        """Answer with a refusal, whole; where that closes the connection, its end is left to `linger`."""
        status, code, title, detail, headers = refusal
        response = problem(status, code, title, detail, self.request_id, headers=headers)
        self.lingers = status in {408, 413}
        await self._start({"type": "http.response.start", "status": status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": response.body, "more_body": self.lingers})

    async def linger(self) -> None:
        """Let the client finish its refused body, for a while.

        To close on data that nobody has read loses many a client its answer (RFC 9112, 9.6).
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (await self.server_receive()).get("more_body", False):
                    pass
        await self._send({"type": "http.response.body", "body": b""})


def _template(scope: Scope) -> str:
    """The path template of the route that served this scope, its routers' prefixes included."""
    route = scope.get("route")
    # FastAPI keeps an included route as it was declared, and its full path beside it.
    context = scope.get("fastapi", {}).get("effective_route_context")
    if context is not None and context.original_route is route:
        route = context
    if template := getattr(route, "path", None):
        return str(template)
    path = scope["path"]
    if path in _CACHEABLE:
        return str(path)
    return _ASSETS if path.startswith(_CACHEABLE_BELOW) else UNMATCHED
