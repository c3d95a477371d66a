"""Undocumented behaviour of uvicorn on which `app/core/web/protocol.py` and `app/cli.py` rely.

If a test fails after an upgrade, read the new code of uvicorn, and adapt ours before you raise the upper bound of its
version. Each docstring says what would break.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess

from app.core.web.protocol import BoundedProtocol, make_bounded_protocol

REQUEST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Transport(asyncio.Transport):
    """A connection that records the bytes written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


async def never_answer(_scope: Any, receive: Any, _send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class RecordingProtocol(HttpToolsProtocol):
    """Record the calls of the callbacks that our protocol overrides."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[str] = []

    def on_headers_complete(self) -> None:
        self.calls.append("on_headers_complete")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.calls.append(f"on_body {len(body)}")
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self.calls.append("send_400_response")
        super().send_400_response(msg)


@pytest.fixture
async def protocol() -> RecordingProtocol:
    config = uvicorn.Config(never_answer, lifespan="off", log_config=None)
    return RecordingProtocol(config=config, server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop())


@pytest.fixture
def transport(protocol: RecordingProtocol) -> Iterator[Transport]:
    transport = Transport()
    protocol.connection_made(transport)
    yield transport
    protocol.connection_lost(None)


async def test_uvicorn_calls_the_protocol_factory_with_keywords() -> None:
    """Otherwise no connection is served: `make_bounded_protocol` is a function that adds two keywords to uvicorn's."""
    config = uvicorn.Config(never_answer, lifespan="off", log_config=None, http=make_bounded_protocol(1.0), ws="none")
    config.load()
    made = config.http_protocol_class(config=config, server_state=ServerState(), app_state={}, _loop=None)  # type: ignore[call-arg]
    assert isinstance(made, BoundedProtocol)
    parameters = inspect.signature(HttpToolsProtocol.__init__).parameters
    assert list(parameters) == ["self", "config", "server_state", "app_state", "_loop"]


def test_the_methods_that_we_override_exist_with_these_arguments() -> None:
    """Otherwise our overrides are never called, and the server waits for slow and endless heads without limit."""
    expected = {
        "connection_made": ["self", "transport"],
        "connection_lost": ["self", "exc"],
        "data_received": ["self", "data"],
        "on_headers_complete": ["self"],
        "on_message_begin": ["self"],
        "on_body": ["self", "body"],
        "on_response_complete": ["self"],
        "_start_asgi_task": ["self", "cycle", "app"],
        "send_400_response": ["self", "msg"],
    }
    for name, parameters in expected.items():
        assert list(inspect.signature(getattr(HttpToolsProtocol, name)).parameters) == parameters, name


async def test_a_connection_keeps_its_loop_and_its_transport(protocol: RecordingProtocol, transport: Transport) -> None:
    """Otherwise the timer of a head cannot start, or cannot close the connection."""
    assert protocol.loop is asyncio.get_running_loop()
    assert protocol.transport is transport
    assert protocol.cycle is None, "no request yet"


async def test_the_head_and_each_part_of_a_body_are_reported(protocol: RecordingProtocol, transport: Transport) -> None:
    """Otherwise the count of unparsed bytes is never reset, and every larger upload is cut off."""
    protocol.data_received(REQUEST[:20])
    assert protocol.calls == []
    protocol.data_received(REQUEST[20:])
    assert protocol.calls == ["on_headers_complete"]
    protocol.data_received(b"a")
    protocol.data_received(b"b")
    assert protocol.calls == ["on_headers_complete", "on_body 1", "on_body 1"]
    assert not transport.is_closed


async def test_a_request_has_a_cycle_with_its_progress(protocol: RecordingProtocol, transport: Transport) -> None:
    """Otherwise we cannot distinguish an idle connection from a busy one, and would close the latter."""
    protocol.data_received(REQUEST)
    assert protocol.cycle.response_complete is False
    assert transport.written == b""


async def test_send_400_response_responds_to_malformed_http(protocol: RecordingProtocol, transport: Transport) -> None:
    """Otherwise a client that does not speak HTTP gets uvicorn's plain text instead of a problem document."""
    protocol.data_received(b"\x16\x03\x01 this is TLS\r\n\r\n")
    assert protocol.calls == ["send_400_response"]
    assert transport.written.startswith(STATUS_LINE[400])
    assert transport.is_closed


def test_status_lines_end_with_a_line_break() -> None:
    """Otherwise the head of our own 400 is malformed."""
    assert STATUS_LINE[400] == b"HTTP/1.1 400 Bad Request\r\n"
    assert httptools_impl.STATUS_LINE is STATUS_LINE


def test_a_server_announces_its_start_and_several_processes_share_a_socket() -> None:
    """Otherwise `tessera serve` prints no banner, or cannot start several processes."""
    assert list(inspect.signature(uvicorn.Server.startup).parameters) == ["self", "sockets"]
    assert inspect.iscoroutinefunction(uvicorn.Server.startup)
    assert list(inspect.signature(Multiprocess.__init__).parameters) == ["self", "config", "sockets"]
