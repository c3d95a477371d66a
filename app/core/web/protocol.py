"""uvicorn's HTTP/1.1 protocol, with limits on the time and the size of the head of a request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.ids import new_id
from app.core.web.problems import CODES_BY_STATUS, make_problem

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 64 * 1024  # more than the edge accepts, so that clients usually get its problem document


class BoundedProtocol(HttpToolsProtocol):
    """Close connections on which the head of the next request is too slow or too large.

    uvicorn itself waits without limit for a head, and for the rest of a request's body after it has sent the response.
    The time runs from the start of the connection, or from the first bytes after a response. Trailers and chunk
    extensions count like a head. A head that arrives in a single read may be larger: the edge refuses it.

    WebSocket must be off (`ws="none"`), since an upgrade does not stop the timer.

    Args:
        header_timeout: the maximum seconds for the head of a request.
    """

    def __init__(self, *args: Any, header_timeout: float, max_header_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout, self._max_header_bytes = header_timeout, max_header_bytes
        self._unparsed_bytes = 0  # since the last head or part of a body
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer: a client that connects and sends nothing counts as slow."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._header_timeout, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parse the data, then start the timer if the head of a request is incomplete."""
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > self._max_header_bytes:
            self.transport.close()
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._timer = self.loop.call_later(self._header_timeout, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stop the timer: from here on the application limits the time."""
        self._unparsed_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Reset the count of bytes: the application limits the size of the body."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Send a problem document for malformed HTTP, unless another response is due first; then close.

        If the body of a request is malformed, the application is told that the client has disconnected.
        """
        cycle = self.cycle
        is_in_body = cycle is not None and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or is_in_body:
            if cycle is not None and is_in_body:
                cycle.disconnected = True
                cycle.message_event.set()
            headers = {"Connection": "close", "X-Content-Type-Options": "nosniff", "X-Request-Id": new_id().hex}
            problem = make_problem(400, *CODES_BY_STATUS[400], msg, headers["X-Request-Id"], headers=headers)
            lines = [STATUS_LINE[400], *(b"%b: %b\r\n" % header for header in problem.raw_headers), b"\r\n"]
            self.transport.write(b"".join(lines) + bytes(problem.body))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def make_bounded_protocol(header_timeout: float, max_header_bytes: int = MAX_HEAD_BYTES) -> type[HttpToolsProtocol]:
    """Make the protocol for uvicorn's `Config(http=…)`.

    uvicorn only calls it, so a partial is enough. Unlike a class that this function creates, a partial can be pickled,
    which several worker processes require.

    Args:
        header_timeout: the maximum seconds for the head of a request.
    """
    bounded = partial(BoundedProtocol, header_timeout=header_timeout, max_header_bytes=max_header_bytes)
    return cast("type[HttpToolsProtocol]", bounded)
