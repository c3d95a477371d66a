"""The limits on the time and size of a request's head, on a real server."""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import TYPE_CHECKING

import pytest

from app.core.web.exchange import LINGER_TIMEOUT
from app.core.web.protocol import make_bounded_protocol
from tests.core.web.edge_server import TIMEOUT, Gate, Server, Wire, assert_eventually, get, make_app, post, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_TIMEOUT = 0.3
MAX_HEADER_BYTES = 4096
TOO_SLOW = b"HTTP/1.1 408 Request Timeout"
BOUNDED = make_bounded_protocol(HEADER_TIMEOUT, MAX_HEADER_BYTES)


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving(make_app(), http=BOUNDED) as running:
        yield running


async def seconds_until_closed(wire: Wire, trickle: bytes = b"", *, refusal: bytes = b"") -> float:
    """Return the seconds until the server closes the connection of a client that sends `trickle` again and again.

    Args:
        refusal: the status line before it does so.
    """
    began = time.monotonic()
    closed = asyncio.create_task(wire.reader.read())
    async with asyncio.timeout(TIMEOUT):
        while not closed.done():
            if trickle:
                wire.writer.write(trickle)
            await asyncio.wait([closed], timeout=0.02)
    try:
        assert closed.result().partition(b"\r\n")[0] == refusal
    except ConnectionResetError:
        assert trickle  # the server closed before it had received everything
    return time.monotonic() - began


class TestSlowHeads:
    async def test_a_client_that_sends_nothing_is_disconnected(self, web: Server) -> None:
        async with web.connected() as wire:
            assert HEADER_TIMEOUT * 0.9 <= await seconds_until_closed(wire) < 3 * HEADER_TIMEOUT

    async def test_a_slow_head_is_disconnected(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            seconds = await seconds_until_closed(wire, b"a", refusal=TOO_SLOW)
            assert HEADER_TIMEOUT * 0.9 <= seconds < 3 * HEADER_TIMEOUT

    async def test_a_slow_head_of_a_later_request_is_disconnected(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(get("/v1/tickets/1"))
            assert (await wire.receive_response()).status == 200
            await wire.send(b"GET / HTTP/1.1\r\nX-Slow: ")
            seconds = await seconds_until_closed(wire, b"a", refusal=TOO_SLOW)
            assert HEADER_TIMEOUT * 0.9 <= seconds < 3 * HEADER_TIMEOUT

    async def test_the_rest_of_a_refused_body_is_not_waited_for(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/unread", "Content-Length: 100000000"))
            assert (await wire.receive_response()).status == 413
            assert await seconds_until_closed(wire, b"a") < LINGER_TIMEOUT + 1

    async def test_a_slow_head_that_arrives_in_time_gets_a_response(self, web: Server) -> None:
        async with web.connected() as wire:
            request = get("/v1/tickets/1")
            await wire.send(request[:9], request[9:-2], request[-2:], pause=HEADER_TIMEOUT / 10)
            assert (await wire.receive_response()).status == 200


class TestLargeHeads:
    @pytest.mark.parametrize(
        "opening",
        [
            b"GET /",
            b"GET / HTTP/1.1\r\nX-Large: ",
            post("/digest", "Transfer-Encoding: chunked") + b"1;",
            post("/digest", "Transfer-Encoding: chunked") + b"0\r\nX-Trailer: ",
        ],
        ids=["address", "header", "chunk extension", "trailer"],
    )
    async def test_an_endless_head_is_disconnected(self, web: Server, opening: bytes) -> None:
        async with web.connected() as wire:
            closed = asyncio.create_task(wire.reader.read())
            sent = 0
            await wire.send(opening)
            while not closed.done() and sent < 10 * MAX_HEADER_BYTES:
                await wire.send(b"a" * 512, pause=0.01)
                sent += 512
            assert MAX_HEADER_BYTES - 512 <= sent < 2 * MAX_HEADER_BYTES
            await asyncio.wait([closed])

    async def test_the_heads_of_many_requests_do_not_add_up(self, web: Server) -> None:
        async with web.connected() as wire:
            for _ in range(4):
                await wire.send(get("/v1/tickets/1", "X-Some: " + "a" * (MAX_HEADER_BYTES // 2)))
                assert (await wire.receive_response()).status == 200


class TestEverythingElse:
    async def test_a_connection_may_be_idle_between_requests(self, web: Server) -> None:
        async with web.connected() as wire:
            for _ in range(2):
                await wire.send(get("/v1/tickets/1"))
                assert (await wire.receive_response()).status == 200
                await asyncio.sleep(HEADER_TIMEOUT * 1.5)

    async def test_an_idle_connection_is_closed_after_keep_alive(self) -> None:
        with serving(make_app(), http=make_bounded_protocol(60), keep_alive=0.2) as web:
            async with web.connected() as wire:
                await wire.send(get("/v1/tickets/1"))
                assert (await wire.receive_response()).status == 200
                assert 0.1 < await seconds_until_closed(wire) < 1

    async def test_pipelined_requests_get_their_responses_in_order(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(b"".join(get(f"/v1/tickets/{n}") for n in range(5)) + get("/v1/tickets/5")[:20])
            await wire.send(get("/v1/tickets/5")[20:])
            bodies = [(await wire.receive_response()).body for _ in range(6)]
        assert [body[:7] for body in bodies] == [b'{"id":%d' % n for n in range(6)]

    async def test_a_slow_upload_is_not_a_slow_head(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/digest", "Content-Length: 5"), *[b"a"] * 5, pause=HEADER_TIMEOUT / 2)
            assert (await wire.receive_response()).body == b"5"

    async def test_a_large_upload_is_not_a_large_head(self, web: Server) -> None:
        size = 20 * MAX_HEADER_BYTES
        chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
        async with web.connected() as wire:
            await wire.send(post("/digest", f"Content-Length: {size}"), b"a" * size)
            assert (await wire.receive_response()).body == b"%d" % size
            await wire.send(post("/digest", "Transfer-Encoding: chunked"), *[chunk] * 20, b"0\r\n\r\n")
            assert (await wire.receive_response()).body == b"%d" % size

    async def test_a_slow_response_is_not_cut_off(self) -> None:
        with serving(make_app(gate := Gate()), http=BOUNDED) as web:
            async with web.connected() as wire:
                await wire.send(get("/hold"), pause=HEADER_TIMEOUT * 1.5)
                gate.opened.set()
                assert (await wire.receive_response()).status == 200
                await wire.send(get("/v1/tickets/1"))
                assert (await wire.receive_response()).status == 200

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        ],
        ids=["TLS", "address", "header"],
    )
    async def test_malformed_http_is_a_problem(self, web: Server, garbage: bytes) -> None:
        async with web.connected() as wire:
            await wire.send(garbage)
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (400, "bad_request")
            assert refused.headers["connection"] == "close"
            assert refused.headers["x-content-type-options"] == "nosniff"
            assert await wire.read_to_end() == b""

    @pytest.mark.parametrize(
        ("head", "said"),
        [
            (post("/digest", "Transfer-Encoding: chunked") + b"zz\r\n", "size of a chunk"),
            (post("/digest", "Transfer-Encoding: chunked") + b"2\r\n{}XX", "malformed chunk"),
            (post("/digest", "Content-Length: 2", "Content-Length: 3"), "more than one Content-Length"),
            (post("/digest", "Content-Length: two"), "decimal number"),
            (post("/digest", "Content-Length: 2", "Transfer-Encoding: chunked"), "both Content-Length and Transfer"),
            (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "TLS"),
            (b"GET /a b HTTP/1.1\r\n\r\n", "address without spaces"),
            (b"GET / HTTP/9.9\r\n\r\n", "HTTP/1.1"),
            (b"GET http:// HTTP/1.1\r\n\r\n", "RFC 3986"),
            (b"GET / HTTP/1.1\r\nno header\r\n\r\n", "name of a header"),
        ],
    )
    async def test_the_refusal_of_malformed_http_names_the_fault(self, web: Server, head: bytes, said: str) -> None:
        async with web.connected() as wire:
            await wire.send(head)
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (400, "bad_request")
            assert said in refused.problem["detail"]

    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            (["Transfer-Encoding: xchunked"], b"2\r\n{}\r\n0\r\n\r\n"),
            (["Transfer-Encoding: gzip, chunked"], b"2\r\n{}\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"zz\r\n{}\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"2\r\n{}XX0\r\n\r\n"),
            (["Transfer-Encoding: chunked"], b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
            (["Transfer-Encoding: chunked", "Content-Length: 2"], b"2\r\n{}\r\n0\r\n\r\n"),
            (["Host: a second one", "Content-Length: 2"], b"{}"),
        ],
        ids=["unknown coding", "two codings", "malformed size", "malformed end", "large size", "length", "two hosts"],
    )
    async def test_a_malformed_body_is_a_problem(self, web: Server, headers: list[str], body: bytes) -> None:
        async with web.connected() as wire:
            await wire.send(post("/digest", *headers) + body)
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (400, "bad_request")
            assert refused.headers["connection"] == "close"
            assert await wire.read_to_end() == b""

    async def test_a_chunk_that_is_malformed_later_is_a_problem_too(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/digest", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n", b"x\r\n", pause=0.05)
            assert (await wire.receive_response()).status == 400

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"GET /v1/tickets/1 HTTP/1.1\r\n\r\n", 400),
            (b"GET /v1/tickets/1 HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            (b"GET /v1/tickets/1 HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 200),
            (b"GET /v1/tickets/1 HTTP/1.0\r\n\r\n", 200),
        ],
    )
    async def test_one_valid_host_is_required_since_http_1_1(self, web: Server, head: bytes, status: int) -> None:
        async with web.connected() as wire:
            await wire.send(head)
            assert (await wire.receive_response()).status == status

    async def test_no_problem_is_written_into_another_response(self) -> None:
        with serving(make_app(gate := Gate()), http=BOUNDED) as web:
            async with web.connected() as wire:
                await wire.send(get("/stream"))
                await assert_eventually(gate.entered.is_set)
                await wire.send(b"\x00 what is this?\r\n\r\n")
                assert (await wire.read_to_end()).endswith(b"data: 1\n\n\r\n")
                gate.opened.set()

    async def test_the_protocol_can_be_pickled_for_other_processes(self) -> None:
        assert pickle.loads(pickle.dumps(BOUNDED)).keywords == {
            "header_timeout": HEADER_TIMEOUT,
            "max_header_bytes": MAX_HEADER_BYTES,
        }
