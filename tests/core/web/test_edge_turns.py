"""The edge ends the turn of a request, which code in the application can suspend."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from starlette.requests import ClientDisconnect

from app.core.request_turns import TURN, Turn
from app.core.threads import BoundedThreads
from tests.core.web.edge_server import get, serving

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.usefixtures("lines")


async def test_a_turn_ends_when_the_response_starts() -> None:
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
async def test_a_request_has_no_turn_while_it_waits_for_a_thread(group: str) -> None:
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
async def test_a_turn_ends_with_a_request_that_fails(failure: type[BaseException]) -> None:
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


async def test_monitoring_takes_no_turns() -> None:
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
