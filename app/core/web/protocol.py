"""uvicorn's HTTP/1.1 protocol, with limits on the time and the size of the head of a request.

It also makes the responses to requests that never reach the application: 400, 408, 414 and 431.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog
from httptools import HttpParserInvalidURLError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core import telemetry
from app.core.ids import new_id
from app.core.web.cors import ORIGINS, VARY, Origins, make_cors_headers
from app.core.web.exchange import VALID_REQUEST_ID
from app.core.web.malformed_http import describe_malformed_http
from app.core.web.problems import CODES_BY_STATUS, make_problem
from app.core.web.refusals import CLOSE, HEADERS_TOO_LARGE, MAX_URL_BYTES, URI_TOO_LONG, Refusal

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MAX_HEAD_BYTES = 64 * 1024  # more than the edge accepts
LINGER_TIMEOUT = 2.0  # seconds for which the rest of a refused request is read
ORIGIN_TIMEOUT = 1.0  # seconds to find out whether an origin is allowed

log = structlog.get_logger("tessera.http")


class BoundedProtocol(HttpToolsProtocol):
    """Refuse requests whose head is too slow, too large or malformed, and close their connections.

    uvicorn itself waits without limit for a head, and for the rest of a request's body after it has sent the response.
    The time runs from the start of the connection, or from the first bytes after a response. Trailers and chunk
    extensions count like a head. A head that arrives in a single read may be larger: the edge refuses it. A connection
    on which no request has begun is closed without a response.

    uvicorn also forgets pipelined requests when a client disconnects: only the last one is told. The others would
    write to the closed connection, which raises an error.

    WebSocket must be off (`ws="none"`), since an upgrade does not stop the timer.

    Args:
        header_timeout: the maximum seconds for the head of a request.
    """

    def __init__(self, *args: Any, header_timeout: float, max_header_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout, self._max_header_bytes = header_timeout, max_header_bytes
        self._unparsed_bytes = 0  # since the last head or part of a body
        self._is_in_head = False
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None  # the last response of this connection; what still arrives is dropped
        self._running: RequestResponseCycle | None = None  # `cycle` is the last one that arrived

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: a client that connects and sends nothing counts as slow."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer, and tell every unfinished request that the client is gone."""
        super().connection_lost(exc)
        self._stop_timer()
        waiting = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        unfinished = [cycle for cycle in (self._running, *waiting) if cycle and not cycle.response_complete]
        for cycle in unfinished:
            cycle.disconnected = True
            cycle.message_event.set()
        if unfinished and self._refusal is None:
            log.debug("client_disconnected", unfinished=len(unfinished), never_started=len(waiting))

    def data_received(self, data: bytes) -> None:
        """Parse the data, then start the timer if the head of a request is incomplete."""
        if self._refusal is not None:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._refusal is not None:  # malformed
            return
        if self._unparsed_bytes > self._max_header_bytes:
            self._refuse(URI_TOO_LONG if len(self.url) > MAX_URL_BYTES else HEADERS_TOO_LARGE)
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()

    def on_message_begin(self) -> None:
        """Note that the head of a request has begun."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the timer: from here on the application limits the time."""
        self._unparsed_bytes = 0
        self._is_in_head = False
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Reset the count of bytes: the application limits the size of the body."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Send the refusal of a later request, or wait for the rest of its head, once all others have responses."""
        super().on_response_complete()
        if self.pipeline or self.transport.is_closing():
            return
        if self._refusal is not None:
            self._send_refusal_soon(self._refusal)
        elif self._is_in_head and self._timer is None:
            self._start_timer()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP with a problem document that names the fault, which uvicorn has just caught."""
        fault = sys.exception()
        if isinstance(fault and fault.__context__, HttpParserInvalidURLError) and len(self.url) > MAX_URL_BYTES:
            self._refuse(URI_TOO_LONG)  # one of 64 KiB or more in a single read never reaches the edge
        else:
            self._refuse(Refusal(400, *CODES_BY_STATUS[400], describe_malformed_http(fault) or msg, CLOSE))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._header_timeout, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        if self._is_in_head:
            detail = f"The head of a request must arrive within {self._header_timeout:g} s."
            self._refuse(Refusal(408, *CODES_BY_STATUS[408], detail, CLOSE))
        else:  # no request has begun, or it has its response already
            self.transport.close()

    def _refuse(self, refusal: Refusal) -> None:
        """Send a problem document as the last response of the connection, as soon as all others have been sent.

        If the body of a request is malformed, the application is told that the client has disconnected. If another
        response has begun, the connection is closed.
        """
        self._refusal = refusal
        self._stop_timer()
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._send_refusal_soon(refusal)
        elif self._running is not None and self._running.response_started:
            self.transport.close()
        elif cycle is self._running and cycle.more_body:
            cycle.disconnected = True
            cycle.message_event.set()
            self._send_refusal_soon(refusal)

    def _send_refusal_soon(self, refusal: Refusal) -> None:
        task = self.loop.create_task(self._send_refusal(refusal))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _send_refusal(self, refusal: Refusal) -> None:
        """Send the problem document. Then wait a while for the client to close the connection.

        If it were closed with unread data, many clients would lose the response (RFC 9112, 9.6).
        """
        status, code, title, detail, headers = refusal
        received = dict(self.headers or ())
        request_id = received.get(b"x-request-id", b"").decode("latin-1")
        if not VALID_REQUEST_ID.fullmatch(request_id.encode("latin-1")):
            request_id = new_id().hex
        problem = make_problem(status, code, title, detail, request_id, headers={**(headers or {}), **CLOSE})
        response_headers = [
            *problem.raw_headers,
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            VARY,
            *await self._find_cors_headers(received.get(b"origin", b"")),
        ]
        if self.transport.is_closing():
            return
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in response_headers), b"\r\n"]
        self.transport.write(b"".join(lines) + bytes(problem.body))
        telemetry.REQUESTS.labels("OTHER", "unmatched", status).inc()
        log.info("request", method="OTHER", route="unmatched", status=status, request_id=request_id)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_TIMEOUT, self.transport.close)

    async def _find_cors_headers(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        """Make the headers for the page's origin, if its header had arrived and any organisation allows it."""
        origins: Origins | None = self.app_state.get(ORIGINS)
        if not origin or origins is None:
            return []
        try:
            async with asyncio.timeout(ORIGIN_TIMEOUT):
                is_listed = await origins.is_listed(origin.decode("latin-1"))
        except TimeoutError:
            return []
        return make_cors_headers(origin) if is_listed else []


def make_bounded_protocol(header_timeout: float, max_header_bytes: int = MAX_HEAD_BYTES) -> type[HttpToolsProtocol]:
    """Make the protocol for uvicorn's `Config(http=…)`.

    uvicorn only calls it, so a partial is enough. Unlike a class that this function creates, a partial can be pickled,
    which several worker processes require.

    Args:
        header_timeout: the maximum seconds for the head of a request.
    """
    bounded = partial(BoundedProtocol, header_timeout=header_timeout, max_header_bytes=max_header_bytes)
    return cast("type[HttpToolsProtocol]", bounded)
