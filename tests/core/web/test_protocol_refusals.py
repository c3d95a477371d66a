"""The responses to requests that never reach the application, and clients that disconnect: on a real service."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from app.core.web.protocol import make_bounded_protocol
from tests.conftest import settings_for
from tests.core.web.edge_server import Gate, Server, Wire, assert_eventually, get, make_app, post, requests_in, serving
from tests.http_server import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.postgres import TestServer

ALLOWED = "https://desk.example.com"
HEAD = b"GET /tickets HTTP/1.1\r\nHost: x\r\nX-Request-Id: one\r\nOrigin: %b\r\nX-Large: "


@pytest.fixture(scope="module")
async def service(server: TestServer) -> AsyncIterator[Server]:
    """The service, with a short timeout."""
    running = running_server(settings_for(server, cors_origins=ALLOWED, header_timeout=0.3))
    address = await asyncio.to_thread(running.__enter__)
    yield Server(urlsplit(address).port or 0)
    await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.fixture
def web() -> Iterator[Server]:
    with serving(make_app(), http=make_bounded_protocol(60, 4096)) as running:
        yield running


async def send_large_head(wire: Wire, origin: str = ALLOWED, size: int = 1_000_000) -> None:
    wire.writer.write(HEAD % origin.encode() + b"a" * size + b"\r\n\r\n")
    await wire.writer.drain()


class TestHeads:
    async def test_a_head_of_a_megabyte_gets_a_431_that_browsers_can_read(self, service: Server) -> None:
        async with service.connected() as wire:
            await send_large_head(wire)
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (431, "headers_too_large")
            assert refused.headers["x-request-id"] == "one"
            assert refused.headers["access-control-allow-origin"] == ALLOWED
            assert "X-Request-Id" in refused.headers["access-control-expose-headers"]
            assert refused.headers["vary"] == "Origin"
            assert (refused.headers["connection"], refused.headers["cache-control"]) == ("close", "no-store")
            assert await wire.read_to_end() == b""

    async def test_another_origin_cannot_read_it(self, service: Server) -> None:
        async with service.connected() as wire:
            await send_large_head(wire, "https://never-listed.example")
            assert "access-control-allow-origin" not in (await wire.receive_response()).headers

    async def test_an_endless_address_gets_a_414(self, service: Server) -> None:
        async with service.connected() as wire:
            await wire.send(b"GET /" + b"a" * 200_000)
            assert (await wire.receive_response()).problem["code"] == "uri_too_long"

    @pytest.mark.parametrize("size", [65_000, 65_536, 70_000])
    async def test_a_complete_head_with_a_long_address_gets_a_414(self, service: Server, size: int) -> None:
        """uvicorn refuses one of 64 KiB or more as malformed, if it arrives in a single read."""
        async with service.connected() as wire:
            await wire.send(b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (414, "uri_too_long")

    async def test_a_slow_head_gets_a_408(self, service: Server) -> None:
        async with service.connected() as wire:
            await wire.send(HEAD % ALLOWED.encode())
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (408, "request_timeout")
            assert refused.headers["access-control-allow-origin"] == ALLOWED

    async def test_malformed_http_gets_a_400_that_browsers_can_read(self, service: Server) -> None:
        async with service.connected() as wire:
            await wire.send(HEAD % ALLOWED.encode() + b"a\r\nno header\r\n\r\n")
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (400, "bad_request")
            assert refused.headers["access-control-allow-origin"] == ALLOWED
            assert refused.headers["x-request-id"] == "one"

    async def test_a_trailer_without_end_gets_a_431(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.send(post("/digest", "Transfer-Encoding: chunked") + b"0\r\nX-Trailer: ")
            await wire.send(*[b"a" * 512] * 16, pause=0.005)
            assert (await wire.receive_response()).problem["code"] == "headers_too_large"
        assert [line["status"] for line in requests_in(lines)] == [499, 431]

    async def test_a_refusal_waits_for_the_response_that_is_due_before_it(self, lines: list[Any]) -> None:
        with serving(make_app(gate := Gate()), http=make_bounded_protocol(60, 4096)) as web:
            for rest, status in ((b"\x00 what is this?\r\n\r\n", 400), (b"GET /" + b"a" * 20_000, 414)):
                gate.entered.clear()
                gate.opened.clear()
                async with web.connected() as wire:
                    await wire.send(get("/hold"))
                    await assert_eventually(gate.entered.is_set)
                    await wire.send(rest, pause=0.05)
                    gate.opened.set()
                    assert (await wire.receive_response()).status == 200
                    assert (await wire.receive_response()).status == status
                    assert await wire.read_to_end() == b""
        assert [line["status"] for line in requests_in(lines)] == [200, 400, 200, 414]

    async def test_half_a_head_after_a_response_is_not_waited_for_as_for_an_idle_connection(self) -> None:
        with serving(make_app(gate := Gate()), http=make_bounded_protocol(0.3), keep_alive=60) as web:
            async with web.connected() as wire:
                await wire.send(get("/hold") + b"GET / HTTP/1.1\r\n")
                await assert_eventually(gate.entered.is_set)
                gate.opened.set()
                assert (await wire.receive_response()).status == 200
                assert (await wire.receive_response()).status == 408


class TestDisconnects:
    """A client that disconnects is a debug line at most, besides those of its requests."""

    @pytest.fixture(autouse=True)
    def _errors(self, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
        yield
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

    @pytest.mark.parametrize("aborts", [False, True])
    async def test_clients_that_send_several_requests_and_disconnect(
        self, web: Server, lines: list[Any], aborts: bool
    ) -> None:
        async with web.connected() as wire:
            await wire.send(5 * (post("/digest", "Content-Length: 1") + b"a"), pause=0.1)
            if aborts:
                wire.writer.transport.abort()
        await assert_eventually(lambda: {"client_disconnected", "request"} <= {line["event"] for line in lines})
        await asyncio.sleep(0.1)
        levels = [(line["log_level"], line["event"]) for line in lines]
        assert levels.count(("debug", "client_disconnected")) == 1
        assert set(levels) == {("debug", "client_disconnected"), ("info", "request")}
        assert len(requests_in(lines)) <= 3

    @pytest.mark.parametrize(
        "sent",
        [
            b"GET / HT",
            get("/v1/tickets/1"),
            post("/digest", "Content-Length: 5") + b"a",
            post("/notes", "Content-Type: application/json", "Content-Length: 500") + b'{"text": "',
            post("/digest", "Transfer-Encoding: chunked") + b"5\r\na",
            post("/notes", "Expect: 100-continue", "Content-Length: 5"),
            post("/unread", "Content-Length: 100000") + b"a" * 70_000,
            get("/v1/tickets/1", "Connection: close") * 3,
            b"GET / HTTP/1.1\r\nX-Large: " + b"a" * 90_000,
            get("/half"),
        ],
        ids=[
            "head", "response", "body", "JSON", "chunk", "expectation", "unread", "close", "large head", "half",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("aborts", [False, True])
    async def test_clients_that_disconnect_at_any_point(
        self, web: Server, lines: list[Any], sent: bytes, aborts: bool
    ) -> None:
        for pause in (0, 0.02):
            async with web.connected() as wire:
                await wire.send(sent, pause=pause)
                if aborts:
                    wire.writer.transport.abort()
        async with web.http() as http:
            assert (await http.get("/healthy")).status_code == 200
        await asyncio.sleep(0.05)
        expected = ["unhandled_error"] if b"/half" in sent else []  # that is the application's
        assert {line["event"] for line in lines if line["log_level"] not in {"debug", "info"}} <= set(expected)
