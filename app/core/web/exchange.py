"""One request and its response at the edge: the limits on its head and body, and the headers of all responses."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog

from app.core.ids import new_id_digits
from app.core.web.cors import (
    ALLOWS_ORIGIN,
    ORIGIN_NOT_ALLOWED,
    PREFLIGHT_HEADERS,
    VARY,
    Origins,
    make_cors_headers,
)
from app.core.web.deprecation import DEPRECATED_SINCE, make_deprecation_headers
from app.core.web.limiter import get_network
from app.core.web.problems import CODES_BY_STATUS, make_problem
from app.core.web.rate_limits import RESPONSE_HEADERS
from app.core.web.refusals import (
    BAD_HOST,
    BAD_TRANSFER_ENCODING,
    CLOSE,
    HEADERS_TOO_LARGE,
    INTERNAL_ERROR,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    MAX_URL_BYTES,
    URI_TOO_LONG,
    Refusal,
)
from app.core.web.request_bodies import MAX_SMALL_BODY, TOO_MANY_BODIES, TOO_MANY_BYTES, RequestBodies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from starlette.types import Message, Receive, Scope, Send

    from app.core.request_turns import Turn

LINGER_TIMEOUT = 1.0  # seconds for which the rest of a refused body is read
CLIENT_GONE_STATUS = 499  # nginx's status for a client that disconnects before the response
FIRST_ERROR_STATUS, UNAVAILABLE = 400, 503

_HOST = re.compile(rb"[^\s/?#@\\]*")
VALID_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
CACHEABLE_PATHS = frozenset({"/docs", "/redoc", "/openapi.json"})
ASSETS_PREFIX = "/static-offline-docs/"
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


class Exchange:
    """One request and its response, as the application sees them.

    Args:
        bodies: receives the body within its limits.
        hold_error: called before an error is sent that costs the process more than the client, with the organisation
            or the network that caused it.
    """

    def __init__(
        self,
        bodies: RequestBodies,
        scope: Scope,
        receive: Receive,
        send: Send,
        hold_error: Callable[[Hashable], Awaitable[None]] | None = None,
    ) -> None:
        self.started_at = perf_counter()
        self.method: str = scope["method"]
        # HEAD gets the response of GET (RFC 9110, 9.3.2) without the body.
        self.scope = {**scope, "method": "GET"} if self.method == "HEAD" else scope
        self._bodies, self.server_receive, self._send, self._hold_error = bodies, receive, send, hold_error
        self.turn: Turn | None = None
        self.refusal: Refusal | None = None  # sent in place of the application's response
        self.status = CLIENT_GONE_STATUS
        self.started = self.must_linger = self.client_is_gone = False
        self.origin_is_listed = self.origin_is_always_allowed = False
        self._body: Message | None = None  # that the application has not received yet
        self._kept_bytes = 0  # of the body, as counted by `bodies`
        self._max_body_bytes = bodies.max_bytes_of.get((self.method, scope["path"]), bodies.max_bytes)
        self.request_id = self._read_headers() or new_id_digits()
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
        self.origin = b""  # of the page that sent the request
        # RFC 9112, 3.2: HTTP/1.1 requires one Host header.
        hosts, self._has_host, self._is_framed = 0, self.scope["http_version"] == "1.0", True
        for name, value in self.scope["headers"]:
            size += len(name) + len(value)
            if name == b"content-length":
                self.content_length = int(value) if value.isdigit() else 0
                self.has_body = self.has_body or self.content_length > 0
            elif name == b"transfer-encoding":
                self.has_body = True
                self._is_framed = value.strip().lower() == b"chunked"
            elif name == b"host":
                hosts += 1
                self._has_host = hosts == 1 and _HOST.fullmatch(value) is not None
            elif name == b"origin":
                self.origin = value
            elif name == b"x-request-id" and VALID_REQUEST_ID.fullmatch(value):
                request_id = value.decode()
        self.head_bytes = size
        return request_id

    def check_head(self) -> Refusal | None:
        """Return the reason to refuse the request before its body is read, if there is one."""
        scope = self.scope
        if not self._has_host:
            return BAD_HOST
        if not self._is_framed:
            return BAD_TRANSFER_ENCODING
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
            return URI_TOO_LONG
        if self.head_bytes > MAX_HEADER_BYTES or len(scope["headers"]) > MAX_HEADERS:
            return HEADERS_TOO_LARGE
        return self._make_too_large() if self.content_length > self._max_body_bytes else None

    async def read_body(self) -> Refusal | None:
        """Read the whole body; return the reason to refuse the request instead, if there is one."""
        network, limit = self.network, self._max_body_bytes
        body = await self._bodies.read(self.server_receive, network, limit, self._make_too_large)
        if isinstance(body, Refusal):
            return body
        size = len(body.get("body", b""))
        if not self._bodies.keep(network, size):
            return TOO_MANY_BYTES
        self._body, self._kept_bytes = body, size
        self.client_is_gone = body["type"] == "http.disconnect"
        return None

    @property
    def network(self) -> str:
        """The network that the request comes from."""
        client = self.scope.get("client")
        return get_network(client[0] if client else None)

    def release_body(self) -> None:
        """Drop the body, if the application has not received it, and count it no longer."""
        self._body = None
        if self._kept_bytes:
            self._bodies.release(self.network, self._kept_bytes)
            self._kept_bytes = 0

    async def receive(self) -> Message:
        """Receive the body, which has arrived already, or, after that, a disconnect."""
        if (body := self._body) is not None:
            self._body = None
            return body
        return await self.server_receive()

    def has_lost_client(self) -> bool:
        """Return whether the client has disconnected, as far as the server tells without waiting."""
        return bool(getattr(getattr(self.server_receive, "__self__", None), "disconnected", False))

    def _make_too_large(self) -> Refusal:
        return Refusal(413, *CODES_BY_STATUS[413], f"The body may have at most {self._max_body_bytes} bytes.", CLOSE)

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
        if self.turn is not None:
            self.turn.end()  # a client that reads slowly, or a response that goes on for long, must not keep it
        if message["status"] >= FIRST_ERROR_STATUS:
            await self._hold_if_cheap(message["status"])
        self.release_body()
        self.started = True
        self.status = message["status"]
        headers = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode()), _NOSNIFF, VARY]
        if self.origin and self._allows_origin():
            headers += make_cors_headers(self.origin)
        route: Any = self.scope.get("route")
        # The framework also sets the route for a 405 of another method.
        if getattr(route, "deprecated", False) and self.scope["method"] in route.methods:
            announced = make_deprecation_headers(route.openapi_extra[DEPRECATED_SINCE])
            headers += [(name.lower().encode(), value.encode()) for name, value in announced.items()]
        if announced_limits := self.state.get(RESPONSE_HEADERS):
            headers += [(name.lower().encode(), value.encode()) for name, value in announced_limits.items()]
        path = self.scope["path"]
        if path in CACHEABLE_PATHS or path.startswith(ASSETS_PREFIX):
            if path in _DOCUMENTATION_PAGES:
                headers.append(_CONTENT_SECURITY_POLICY)
        else:
            for name, _ in headers:  # a loop takes half the time of `any` with a generator
                if name == b"cache-control":
                    break
            else:
                headers.append(_NO_STORE)
        await self._send({**message, "headers": headers})

    async def _hold_if_cheap(self, status: int) -> None:
        """Hold an error back that costs its client nothing: of a caller who is not known, or of an overload."""
        if self._body is not None:
            self.release_body()  # the application has responded without it
        if self._hold_error is None or self._kept_bytes > MAX_SMALL_BODY:
            return  # the application may still have the body that it has received, which must not stay in memory
        org_id = self.state.get("org_id")
        if status == UNAVAILABLE or org_id is None:
            await self._hold_error(self.network if org_id is None else org_id)

    def _allows_origin(self) -> bool:
        """Return whether the caller's organisation, or any if the caller is unknown, allows the page's origin."""
        allows_origin: Callable[[str], bool] | None = self.state.get(ALLOWS_ORIGIN)
        if self.origin_is_always_allowed or allows_origin is None:
            return self.origin_is_listed
        return allows_origin(self.origin.decode("latin-1"))

    async def check_origin(self, origins: Origins) -> Refusal | None:
        """Find out whether browsers of the page's origin may read the response; return the refusal of a preflight."""
        origin = self.origin.decode("latin-1")
        self.origin_is_always_allowed = origins.is_always_allowed(origin)
        self.origin_is_listed = await origins.is_listed(origin)
        return ORIGIN_NOT_ALLOWED if self.is_preflight and not self.origin_is_listed else None

    @property
    def is_preflight(self) -> bool:
        """Whether a browser asks which requests its page may send."""
        return self.method == "OPTIONS" and any(
            name == b"access-control-request-method" for name, _ in self.scope["headers"]
        )

    async def send_preflight(self) -> None:
        """Send the response to a preflight of an allowed origin."""
        await self._start({"type": "http.response.start", "status": 204, "headers": PREFLIGHT_HEADERS})
        await self._send({"type": "http.response.body", "body": b""})

    async def send_refusal(self, refusal: Refusal) -> None:
        """Send a refusal. If it closes the connection, `linger` sends the end of the response."""
        status, code, title, detail, headers = refusal
        response = make_problem(status, code, title, detail, self.request_id, headers=headers)
        self.must_linger = status in {408, 413} or refusal is TOO_MANY_BODIES
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
