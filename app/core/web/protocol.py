"""uvicorn's HTTP/1.1 protocol, with bounds on how slow and how large the head of a request may be."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.core.ids import new_id
from app.core.web.problems import CODE_OF, problem

if TYPE_CHECKING:
    import asyncio

MAX_HEAD_BYTES = 64 * 1024  # more than the edge allows, so that its own refusals are the usual ones


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head does not arrive in time, or grows past a bound (seconds, bytes).

    uvicorn itself waits for a head without end, and for the rest of a body that was answered without being read. The
    time runs from the connection's start, or from the first bytes after an answer. Trailers and chunk extensions count
    as a head does. What arrives in a single read may pass the bound: the edge sees it, and refuses it.
    For HTTP alone: an upgrade to WebSocket would not stop the clock (`ws="none"`).
    """

    def __init__(self, *args: Any, header_timeout: float, max_header_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timeout, self._max_header_bytes = header_timeout, max_header_bytes
        self._unparsed = 0  # bytes since the last head, or part of a body
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a client that connects and says nothing is slow as well."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self._header_timeout, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parse, then see whether there is still something to wait for."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > self._max_header_bytes:
            self.transport.close()
        elif self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._timer = self.loop.call_later(self._header_timeout, self.transport.close)

    def on_headers_complete(self) -> None:
        """The head has arrived: from here on, time is the application's affair."""
        self._unparsed = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body has arrived: how large that may be is the application's affair."""
        self._unparsed = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; in the middle of an earlier answer, only close."""
        if self.cycle is None or self.cycle.response_complete:
            headers = {"Connection": "close", "X-Content-Type-Options": "nosniff", "X-Request-Id": new_id().hex}
            answer = problem(400, *CODE_OF[400], msg, headers["X-Request-Id"], headers=headers)
            lines = [STATUS_LINE[400], *(b"%b: %b\r\n" % header for header in answer.raw_headers), b"\r\n"]
            self.transport.write(b"".join(lines) + bytes(answer.body))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(header_timeout: float, max_header_bytes: int = MAX_HEAD_BYTES) -> type[HttpToolsProtocol]:
    """What uvicorn's `Config(http=…)` makes its connections with.

    uvicorn only calls it, so it need not be a class; and unlike a class made here, it can be pickled, which several
    worker processes need.
    """
    bounded = partial(BoundedProtocol, header_timeout=header_timeout, max_header_bytes=max_header_bytes)
    return cast("type[HttpToolsProtocol]", bounded)
