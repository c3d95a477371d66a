"""The limits of the edge on size and time, on a real server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from app.core.web.problems import PROBLEM_MEDIA_TYPE
from app.core.web.refusals import MAX_HEADERS
from tests.core.web.edge_server import TIMEOUT, Gate, Server, assert_eventually, get, make_app, post, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.usefixtures("lines")


class TestTheHead:
    async def test_an_address_may_have_eight_kibibytes(self, web: Server) -> None:
        async with web.http() as http:
            fits = await http.get("/v1/tickets/1?" + "a" * (8192 - len("/v1/tickets/1")))
            long_query = await http.get("/v1/tickets/1?" + "a" * 8192)
            long_path = await http.get("/" + "a" * 8192)
        assert fits.status_code == 200
        for refused in (long_query, long_path):
            assert refused.status_code == 414
            assert refused.json()["code"] == "uri_too_long"
            assert refused.headers["content-type"] == PROBLEM_MEDIA_TYPE

    @pytest.mark.parametrize(
        "headers",
        [[f"X-{n}: 1" for n in range(MAX_HEADERS)], ["X-Big: " + "a" * 33_000], ["X: " + "a" * 9_000] * 4],
        ids=["many", "large", "large together"],
    )
    async def test_too_many_headers_are_refused(self, web: Server, headers: list[str]) -> None:
        async with web.connected() as wire:
            await wire.send(get("/v1/tickets/1", *headers) + get("/v1/tickets/1", *headers[:-1][:98]))
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (431, "headers_too_large")
            assert (await wire.receive_response()).status == 200


class TestTheBody:
    async def test_a_body_within_the_limit_is_read(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.post("/digest", content=b"x" * 4096)
            assert (answer.status_code, answer.json()) == (200, 4096)
            chunked = await http.post("/digest", content=_parts(4, 1024))
            assert (chunked.status_code, chunked.json()) == (200, 4096)

    async def test_a_body_with_too_large_a_content_length_is_refused_unread(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/notes", "Content-Length: 4097"))
            refused = await wire.receive_response()
            assert (refused.status, refused.problem["code"]) == (413, "body_too_large")
            assert refused.headers["connection"] == "close"
            assert await wire.read_to_end() == b""

    async def test_a_client_that_expects_100_is_refused_before_it_sends_the_body(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/notes", "Content-Length: 4097", "Expect: 100-continue"))
            assert (await wire.receive_response()).status == 413

    @pytest.mark.parametrize("path", ["/notes", "/digest"])
    async def test_a_body_in_chunks_is_refused_at_the_limit(self, web: Server, path: str) -> None:
        async with web.connected() as wire:
            chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
            await wire.send(post(path, "Transfer-Encoding: chunked"), *[chunk] * 5)
            refused = await wire.receive_response()
        assert (refused.status, refused.problem["code"]) == (413, "body_too_large")

    async def test_a_client_that_sends_a_refused_body_still_gets_the_response(self, web: Server) -> None:
        async with web.connected() as wire:
            body = b"x" * 16_000_000  # more than the buffers in between hold
            await wire.send(post("/notes", f"Content-Length: {len(body)}"), body, pause=0.1)
            assert (await wire.receive_response()).status == 413
            assert await wire.read_to_end() == b""

    @pytest.mark.parametrize("path", ["/notes", "/digest"])
    async def test_a_body_that_does_not_arrive_is_a_408(self, path: str, lines: list[Any]) -> None:
        with serving(make_app(), body_timeout=0.2) as web:
            async with web.connected() as wire:
                began = time.monotonic()
                await wire.send(post(path, "Content-Length: 10"), b"{")
                refused = await wire.receive_response()
                assert 0.2 <= time.monotonic() - began < 1
                assert (refused.status, refused.problem["code"]) == (408, "request_timeout")
                assert refused.headers["connection"] == "close"
        assert {line["event"] for line in lines} == {"request"}  # no unhandled error

    async def test_a_body_that_arrives_too_slowly_is_a_408(self) -> None:
        with serving(make_app(), body_timeout=0.3) as web:
            async with web.connected() as wire:
                began = time.monotonic()
                await wire.send(post("/digest", "Content-Length: 100"))
                answer = asyncio.create_task(wire.receive_response())
                while not answer.done():
                    await wire.send(b"x", pause=0.05)
                assert (await answer).status == 408
                assert time.monotonic() - began < 1.5

    async def test_a_request_is_served_once_its_body_has_arrived(self) -> None:
        served: list[bytes] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                served.append((await receive())["body"])
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})

        with serving(app) as web:
            async with web.connected() as wire:
                await wire.send(post("/", "Content-Length: 4"), b"a", b"bc", pause=0.05)
                assert served == []
                await wire.send(b"d")
                assert (await wire.receive_response()).status == 204
        assert served == [b"abcd"]

    async def test_a_request_whose_client_left_before_the_end_of_its_body_is_not_served(self, lines: list[Any]) -> None:
        served: list[str] = []

        async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
            if scope["type"] == "http":
                served.append(scope["path"])

        with serving(app) as web:
            async with web.connected() as wire:
                await wire.send(post("/", "Content-Length: 4"), b"a", pause=0.05)
            await assert_eventually(lambda: len(lines) > 0)
        assert (served, lines[0]["status"]) == ([], 499)

    async def test_a_body_that_the_app_does_not_read_leaves_the_connection_open(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(post("/unread", "Content-Length: 4096") + b"x" * 4096)
            assert (await wire.receive_response()).status == 401
            await wire.send(get("/v1/tickets/1"))
            assert (await wire.receive_response()).status == 200


class TestManyBodies:
    async def test_the_oldest_unfinished_body_is_refused_if_they_are_too_large_together(self) -> None:
        with serving(make_app(), max_buffered_bytes=100_000) as web:
            async with web.connected() as oldest, web.connected() as second, web.connected() as third:
                for wire in (oldest, second):
                    await wire.send(post("/digest", "Content-Length: 50000"), b"x" * 40_000, pause=0.1)
                await third.send(post("/digest", "Content-Length: 50000"), b"x" * 40_000)
                refused = await oldest.receive_response()
                assert (refused.status, refused.problem["code"]) == (503, "overloaded")
                assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
                assert await oldest.read_to_end() == b""
                for wire in (second, third):
                    await wire.send(b"x" * 10_000)
                    answer = await wire.receive_response()
                    assert (answer.status, answer.body) == (200, b"50000")

    async def test_small_bodies_that_have_arrived_do_not_count(self) -> None:
        with serving(make_app(), max_buffered_bytes=10_000) as web:
            async with web.http() as http:
                answers = [await http.post("/digest", content=b"x" * 9000) for _ in range(5)]
        assert {answer.text for answer in answers} == {"9000"}

    async def test_large_bodies_count_until_the_response_starts(self) -> None:
        with serving(make_app(gate := Gate()), max_buffered_bytes=100_000) as web:
            async with web.http() as http:
                sending = [asyncio.create_task(http.post("/hold", content=b"x" * 40_000)) for _ in range(4)]
                done, held = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
                while len(done) < 3:
                    more, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
                    done |= more
                for refused in [task.result() for task in done]:
                    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
                    assert refused.headers["retry-after"] == "5"
                assert (await http.post("/notes", json={"text": "small"})).status_code == 200
                gate.opened.set()
                assert (await held.pop()).status_code == 200
                assert (await http.post("/hold", content=b"x" * 40_000)).status_code == 200

    @pytest.mark.parametrize("path", ["/unread", "/digest", "/boom", "/none"])
    async def test_every_response_frees_its_large_body(self, path: str) -> None:
        with serving(make_app(), max_buffered_bytes=30_000) as web:
            async with web.http() as http:
                statuses = [(await http.post(path, content=b"x" * 20_000)).status_code for _ in range(4)]
        assert len(set(statuses)) == 1
        assert 503 not in statuses


async def _parts(number: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * size


class TestStreams:
    async def test_a_stream_is_passed_on_while_it_lasts(self) -> None:
        with serving(make_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http, http.stream("GET", "/stream") as answer:
                assert answer.headers["cache-control"] == "no-store"
                parts = answer.aiter_text()
                assert await anext(parts) == "data: 1\n\n"
                assert (await http.get("/v1/tickets/1")).status_code == 503  # a stream occupies a place
                gate.opened.set()
                assert await anext(parts) == "data: 2\n\n"

    async def test_a_stream_may_last_longer_than_a_body(self) -> None:
        with serving(make_app(gate := Gate()), body_timeout=0.1) as web:
            async with web.http() as http, http.stream("POST", "/stream", json={"text": "0"}) as answer:
                parts = answer.aiter_text()
                assert await anext(parts) == "data: 0\n\n"
                await asyncio.sleep(0.2)
                gate.opened.set()
                assert await anext(parts) == "data: 2\n\n"

    async def test_a_stream_without_a_client_frees_its_place(self) -> None:
        with serving(make_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http:
                async with http.stream("GET", "/stream"):
                    await assert_eventually(gate.entered.is_set)
                async with asyncio.timeout(TIMEOUT):
                    while (await http.get("/v1/tickets/1")).status_code != 200:  # noqa: ASYNC110 - there is no event to wait for
                        await asyncio.sleep(0.01)
