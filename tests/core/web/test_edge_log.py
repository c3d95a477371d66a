"""The log lines and metrics that the edge writes for every request, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fastapi import Response
from prometheus_client import REGISTRY

from tests.core.web.edge_server import (
    ORG,
    Gate,
    Server,
    assert_eventually,
    get,
    make_app,
    post,
    read_request_count,
    read_timing_count,
    requests_in,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

pytestmark = pytest.mark.usefixtures("lines")


class TestLogAndMetrics:
    @pytest.fixture
    def web(self) -> Iterator[Server]:
        """A server for one test: a line is written just after the response, and must not reach the next test."""
        with serving(make_app(), max_body_bytes=4096) as running:
            yield running

    async def test_a_request_is_logged_in_one_line(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/v1/tickets/1?q=1", headers={"X-Request-Id": "one"})
        await assert_eventually(lambda: lines)
        [line] = lines
        assert 0 < line.pop("ms") < 1000
        assert line == {
            "event": "request",
            "log_level": "info",
            "method": "GET",
            "route": "/v1/tickets/{ticket_id}",
            "status": 200,
            "org_id": ORG,
            "request_id": "one",
        }

    async def test_no_secret_and_no_body_is_logged(self, web: Server, lines: list[Any]) -> None:
        secrets = {"Authorization": "Bearer hunter2", "X-Org-Secret": "tsk_hunter2", "Cookie": "hunter2"}
        async with web.http() as http:
            for path in ("/notes", "/none/hunter2", "/boom"):
                await http.post(f"{path}?token=hunter2", headers=secrets, json={"text": "hunter2"})
            await http.get("/v1/tickets/1", headers={"X-Request-Id": "'hunter2'"})
        await assert_eventually(lambda: len(requests_in(lines)) == 4)
        assert "hunter2" not in repr(lines).lower()

    async def test_probes_are_logged_like_other_requests(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/health/ready")
            await http.get("/metrics")
            await http.get("/healthy")
        await assert_eventually(lambda: len(lines) == 3)
        assert [line["log_level"] for line in lines] == ["info", "info", "info"]

    async def test_requests_are_counted_and_timed_by_route_pattern(self, web: Server) -> None:
        route = "/v1/tickets/{ticket_id}"
        before = (
            read_request_count("GET", route, 200),
            read_request_count("GET", route, 422),
            read_timing_count("GET", route),
        )
        async with web.http() as http:
            for ticket in (1, 2, "x"):
                await http.get(f"/v1/tickets/{ticket}")
        await assert_eventually(lambda: read_timing_count("GET", route) == before[2] + 3)
        assert read_request_count("GET", route, 200) == before[0] + 2
        assert read_request_count("GET", route, 422) == before[1] + 1

    async def test_no_label_contains_input_of_a_caller(self, web: Server) -> None:
        before = read_request_count("OTHER", "unmatched", 404)
        async with web.http() as http:
            await http.request("PROPFIND", "/hunter3")
        await assert_eventually(lambda: read_request_count("OTHER", "unmatched", 404) == before + 1)
        labels = {v for metric in REGISTRY.collect() for sample in metric.samples for v in sample.labels.values()}
        assert not labels & {"PROPFIND", "/hunter3"}

    async def test_a_gauge_counts_the_requests_in_flight(self) -> None:
        def read_in_flight() -> float | None:
            return REGISTRY.get_sample_value("tessera_http_requests_in_flight")

        before = read_in_flight() or 0
        with serving(make_app(gate := Gate())) as web:
            async with web.http() as http:
                held = asyncio.create_task(http.get("/hold"))
                await assert_eventually(gate.entered.is_set)
                assert read_in_flight() == before + 1
                gate.opened.set()
                await held
            await assert_eventually(lambda: read_in_flight() == before)

    async def test_a_client_that_disconnects_is_logged_as_499(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.send(post("/notes", "Content-Length: 100"), b"{", pause=0.1)
        await assert_eventually(lambda: lines)
        assert [line["status"] for line in lines] == [499]

    async def test_a_client_that_disconnects_during_the_response_is_not_an_error(self, lines: list[Any]) -> None:
        with serving(make_app(gate := Gate())) as web:
            async with web.connected() as wire:
                await wire.send(get("/hold"))
                await assert_eventually(gate.entered.is_set)
            await asyncio.sleep(0.05)
            gate.opened.set()
        assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]

    async def test_log_lines_never_have_the_id_of_a_previous_request(self) -> None:
        seen: list[dict[str, Any]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await receive()  # the server continues to read in the context of this task
                seen.append(structlog.contextvars.get_contextvars())
                structlog.contextvars.bind_contextvars(ticket=scope["path"])
                await Response("x")(scope, receive, send)

        with serving(app) as web:
            async with web.connected() as wire:
                # First one after the other, then two at once.
                for batch in (["/1"], ["/2"], ["/3", "/4"]):
                    await wire.send(b"".join(get(path, f"X-Request-Id: {path[1:]}") for path in batch))
                    for _ in batch:
                        await wire.receive_response()
        assert seen == [{"request_id": n} for n in "1234"]

    async def test_a_refusal_is_counted_like_any_response(self, web: Server) -> None:
        before = read_request_count("GET", "unmatched", 414)
        async with web.http() as http:
            await http.get("/" + "a" * 8192)
        await assert_eventually(lambda: read_request_count("GET", "unmatched", 414) == before + 1)

    async def test_the_logged_time_excludes_a_client_that_lingers(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.send(post("/notes", "Content-Length: 4097"))
            await assert_eventually(lambda: requests_in(lines))
        assert requests_in(lines)[0]["ms"] < 500

    async def test_exceptions_are_logged_once_with_the_request_id(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/boom", headers={"X-Request-Id": "bad-day"})
        await assert_eventually(lambda: requests_in(lines))
        error, request = lines
        assert (error["event"], error["log_level"], error["request_id"]) == ("unhandled_error", "error", "bad-day")
        assert str(error["exc_info"]) == "kaputt"
        assert (request["status"], request["request_id"]) == (500, "bad-day")

    async def test_a_response_that_fails_half_way_is_not_completed(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.send(get("/half"))
            assert (await wire.read_to_end()).endswith(b"half\r\n")  # and no last chunk
        assert [line["event"] for line in lines] == ["unhandled_error", "request"]
