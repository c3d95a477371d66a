"""Request ids, headers and unexpected exceptions at the edge, on a real server."""

from __future__ import annotations

import json
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI

from tests.core.web.edge_server import Server, get, post, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

# Logs are captured: writing tracebacks takes a second.
pytestmark = pytest.mark.usefixtures("lines")


class TestRequestId:
    async def test_a_valid_id_of_the_caller_is_kept(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.get("/v1/tickets/1", headers={"X-Request-Id": "My-own_id.1"})
        assert answer.headers.get_list("x-request-id") == ["My-own_id.1"]
        assert answer.json()["requestId"] == "My-own_id.1"

    @pytest.mark.parametrize("hostile", [b"", b"a" * 129, b"a b", b'x","admin":"1', b"\xc3\xa4", b"<script>", b"a\tb"])
    async def test_a_hostile_id_is_replaced(self, web: Server, hostile: bytes) -> None:
        async with web.connected() as wire:
            await wire.send(b"GET /v1/tickets/1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + hostile + b"\r\n\r\n")
            answer = await wire.receive_response()
        assert answer.status == 200
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert json.loads(answer.body)["requestId"] == answer.headers["x-request-id"]

    async def test_every_response_has_its_own_id(self, web: Server) -> None:
        async with web.http() as http:
            answers = [await http.get(path) for path in ("/v1/tickets/1", "/v1/tickets/1", "/none", "/boom", "/docs")]
        assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


class TestHeaders:
    async def test_responses_are_not_sniffed_and_not_stored(self, web: Server) -> None:
        async with web.http() as http:
            for path in ("/v1/tickets/1", "/none", "/boom", "/v1/tickets/x", "/health/ready"):
                answer = await http.get(path)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["cache-control"] == "no-store"

    async def test_documentation_may_be_stored(self, web: Server) -> None:
        async with web.http() as http:
            for path in ("/docs", "/redoc", "/openapi.json"):
                answer = await http.get(path)
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert "cache-control" not in answer.headers

    async def test_the_cache_control_of_the_app_is_kept(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.get("/cached")
        assert answer.headers.get_list("cache-control") == ["max-age=60"]


class TestUnexpectedExceptions:
    async def test_an_exception_is_a_problem_and_the_connection_stays_open(self, web: Server) -> None:
        async with web.connected() as wire:
            # Pipelined, and one of them with a body that is not read.
            await wire.send(get("/boom"), post("/boom", "Content-Length: 3") + b"abc" + get("/v1/tickets/1"))
            for _ in range(2):
                failed = await wire.receive_response()
                assert (failed.status, failed.problem["code"]) == (500, "internal_error")
                assert "connection" not in failed.headers
                assert b"kaputt" not in failed.body
            assert (await wire.receive_response()).status == 200

    async def test_a_problem_in_response_to_head_has_no_body(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.send(get("/boom").replace(b"GET", b"HEAD") + get("/v1/tickets/1"))
            assert (await wire.receive_response(head_only=True)).status == 500
            assert (await wire.receive_response()).status == 200

    async def test_an_app_that_sends_nothing_is_a_500(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            """Send nothing."""

        with serving(app) as web:
            async with web.http() as http:
                answer = await http.get("/")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


async def test_other_protocols_than_http_pass_through() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seen.append("started")
        yield
        seen.append("stopped")

    with serving(FastAPI(lifespan=lifespan)):
        assert seen == ["started"]
    assert seen == ["started", "stopped"]
