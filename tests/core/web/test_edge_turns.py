"""The limits of the edge on concurrency, on a real server."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from starlette.requests import ClientDisconnect

from app.core.request_turns import TURN, Turn
from app.core.threads import BoundedThreads
from app.core.web.problems import PROBLEM_MEDIA_TYPE
from tests.core.web.edge_server import Gate, assert_eventually, get, make_app, post, read_request_count, serving

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.usefixtures("lines")


class TestOverload:
    async def test_a_request_over_the_limit_is_refused_at_once(self) -> None:
        before = read_request_count("GET", "unmatched", 503)
        with serving(make_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http:
                held = asyncio.create_task(http.get("/hold"))
                await assert_eventually(gate.entered.is_set)
                refused = await http.get("/v1/tickets/1")
                assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
                assert refused.headers["content-type"] == PROBLEM_MEDIA_TYPE
                assert [(await http.get(p)).status_code for p in ("/health/ready", "/metrics")] == [200, 200]
                assert (await http.get("/healthy")).status_code == 503
                gate.opened.set()
                assert (await held).status_code == 200
                assert (await http.get("/v1/tickets/1")).status_code == 200
        assert read_request_count("GET", "unmatched", 503) == before + 2

    async def test_every_finished_request_frees_its_place(self) -> None:
        with serving(make_app(), max_concurrent_requests=1, body_timeout=0.1) as web:
            async with web.connected() as gone, web.connected() as slow:
                await gone.send(post("/notes", "Content-Length: 100"), pause=0.05)
                gone.writer.close()
                await asyncio.sleep(0.05)
                await slow.send(post("/notes", "Content-Length: 100"))
                assert (await slow.receive_response()).status == 408
            async with web.http() as http:
                statuses = [(await http.get(path)).status_code for path in ("/boom", "/none", "/v1/tickets/1")]
        assert statuses == [500, 404, 200]


class TestTurns:
    async def test_a_turn_ends_when_the_response_starts(self) -> None:
        running: list[int] = []

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                turn: Turn = scope[TURN]
                assert turn.take(turn.all.organisations, "an organisation") is None
                running.append(turn.all.running)
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await asyncio.sleep(0.01)
                running.append(turn.all.running)
                await send({"type": "http.response.body", "body": b"the end"})

        with serving(app) as web:
            async with web.http() as http:
                assert (await http.get("/")).text == "the end"
        assert running == [1, 0]

    @pytest.mark.parametrize("group", ["organisations", "strangers"])
    async def test_a_request_has_no_turn_while_it_waits_for_a_thread(self, group: str) -> None:
        running: list[int] = []
        threads = BoundedThreads(1, 0)

        def count_running(turn: Turn) -> int:
            time.sleep(0.05)  # turns end with the next pass of the event loop
            return turn.all.running

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                turn: Turn = scope[TURN]
                assert turn.take(getattr(turn.all, group), "a key") is None
                await asyncio.sleep(0)
                running.append(turn.all.running)
                running.append(await threads.run(partial(count_running, turn)))
                running.append(turn.all.running)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await asyncio.sleep(0.01)
                running.append(turn.all.running)
                await send({"type": "http.response.body", "body": b""})

        with serving(app) as web:
            async with web.http() as http:
                await http.get("/")
                await http.get("/")
        assert running == [1, 0, 1, 0] * 2

    @pytest.mark.parametrize("failure", [RuntimeError, ClientDisconnect, asyncio.CancelledError])
    async def test_a_turn_ends_with_a_request_that_fails(self, failure: type[BaseException]) -> None:
        turns: list[Turn] = []

        async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
            if scope["type"] == "http":
                turns.append(scope[TURN])
                assert turns[-1].take(turns[-1].all.organisations, "an organisation") is None
                raise failure

        with serving(app) as web:
            async with web.connected() as wire:
                await wire.send(get("/"), pause=0.05)
        assert [turn.all.running for turn in turns] == [0]

    async def test_monitoring_takes_no_turns(self) -> None:
        scopes: list[Scope] = []

        async def app(scope: Scope, _receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scopes.append(scope)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})

        with serving(app) as web:
            async with web.http() as http:
                for path in ("/health/ready", "/other"):
                    await http.get(path)
        assert [TURN in scope for scope in scopes] == [False, True]
