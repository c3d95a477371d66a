"""What every exchange passes through, on a real server: over sockets, and with httpx."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
import structlog
import uvicorn
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import REGISTRY
from pydantic import BaseModel

from app.core.config import Settings
from app.core.edge import MAX_HEADERS, Edge
from app.core.http import PROBLEM_MEDIA_TYPE, install_error_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

ORG = "0190b8e5-0000-7000-8000-000000000001"
PATIENCE = 5.0  # seconds; far more than anything here needs
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the usual certificates takes longer than a test


class Note(BaseModel):
    """A body to be parsed."""

    text: str


class Gate:
    """Lets a test know that a request is being served, and hold it there."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    async def pass_through(self) -> None:
        self.entered.set()
        while not self.opened.is_set():  # noqa: ASYNC110 - the test is in another thread
            await asyncio.sleep(0.01)


def an_app(gate: Gate | None = None) -> FastAPI:  # noqa: C901 - a list of operations
    """An app that does whatever an edge has to cope with."""
    gate = gate or Gate()
    app = FastAPI()
    install_error_handlers(app)
    router = APIRouter(prefix="/tickets")

    @router.get("/{ticket_id}")
    async def read(request: Request, ticket_id: int) -> dict[str, Any]:
        request.state.org_id = ORG
        return {"id": ticket_id, "requestId": request.state.request_id}

    @app.post("/notes")
    async def note(note: Note) -> int:
        return len(note.text)

    @app.post("/unread", status_code=401)
    async def unread() -> str:
        return "who are you?"

    @app.post("/digest")
    async def digest(request: Request) -> int:
        size = 0
        async for part in request.stream():
            size += len(part)
            if size == 1:
                await asyncio.sleep(0.4)
        return size

    @app.get("/boom")
    @app.head("/boom")
    @app.post("/boom")
    async def boom() -> None:
        raise RuntimeError("kaputt")

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "half"
            raise RuntimeError("kaputt")

        return StreamingResponse(parts())

    @app.get("/hold")
    async def hold(request: Request) -> str:
        await gate.pass_through()
        return f"held{await request.body()!r}"

    @app.get("/stream")
    @app.post("/stream", operation_id="asked")
    async def stream(note: Note | None = None) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield f"data: {note.text if note else 1}\n\n"
            await gate.pass_through()
            yield "data: 2\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    @app.get("/cached")
    async def cached() -> Response:
        return Response("x", headers={"Cache-Control": "max-age=60"})

    @app.get("/health/ready")
    @app.get("/healthy")
    @app.get("/metrics")
    async def fine() -> str:
        return "fine"

    outer = APIRouter(prefix="/v1")
    outer.include_router(router)
    app.include_router(outer)
    return app


class Server(NamedTuple):
    """A running server."""

    port: int

    def http(self) -> httpx.AsyncClient:
        url = f"http://127.0.0.1:{self.port}"
        return httpx.AsyncClient(base_url=url, verify=NO_TLS, trust_env=False, timeout=PATIENCE)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Wire]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Wire(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class Answer(NamedTuple):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == PROBLEM_MEDIA_TYPE
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert document["requestId"] == self.headers["x-request-id"]
        return document


class Wire(NamedTuple):
    """A connection to the server, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *parts: bytes, pause: float = 0) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def hear(self, *, head_only: bool = False) -> Answer:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = 0 if head_only else int(headers.get("content-length", 0))
            return Answer(int(first.split()[1]), headers, await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """Whatever comes until the server closes the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()


@contextmanager
def serving(app: ASGIApp, *, http: Any = "httptools", keep_alive: Any = 5, **settings: Any) -> Iterator[Server]:
    """A server as in production, in a thread of its own."""
    edge = Edge(app, Settings(_env_file=None, **settings))
    config = uvicorn.Config(
        edge, loop="uvloop", http=http, ws="none", timeout_keep_alive=keep_alive, log_config=None, access_log=False
    )
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        _wait_for(lambda: server.started)
        yield Server(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


def _wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


async def becomes_true(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(_wait_for, condition)


def get(path: str, *headers: str) -> bytes:
    """A request on the wire."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(path: str, *headers: str) -> bytes:
    """The head of a request on the wire."""
    return get(path, *headers).replace(b"GET", b"POST", 1)


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving(an_app(), max_body_bytes=4096) as running:
        yield running


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What was logged; by every test, since drawing a traceback in colour takes a second."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def requests_in(lines: list[Any]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request"]


def counted(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("tessera_http_requests_total", labels) or 0.0


def timed(method: str, route: str) -> float:
    labels = {"method": method, "route": route}
    return REGISTRY.get_sample_value("tessera_http_request_seconds_count", labels) or 0.0


class TestRequestId:
    async def test_the_callers_own_is_kept(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.get("/v1/tickets/1", headers={"X-Request-Id": "My-own_id.1"})
        assert answer.headers.get_list("x-request-id") == ["My-own_id.1"]
        assert answer.json()["requestId"] == "My-own_id.1"

    @pytest.mark.parametrize("hostile", [b"", b"a" * 129, b"a b", b'x","admin":"1', b"\xc3\xa4", b"<script>", b"a\tb"])
    async def test_a_hostile_one_is_replaced(self, web: Server, hostile: bytes) -> None:
        async with web.connected() as wire:
            await wire.say(b"GET /v1/tickets/1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + hostile + b"\r\n\r\n")
            answer = await wire.hear()
        assert answer.status == 200
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
        assert json.loads(answer.body)["requestId"] == answer.headers["x-request-id"]

    async def test_every_answer_has_one_of_its_own(self, web: Server) -> None:
        async with web.http() as http:
            answers = [await http.get(path) for path in ("/v1/tickets/1", "/v1/tickets/1", "/none", "/boom", "/docs")]
        assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


class TestHeaders:
    async def test_nothing_is_sniffed_and_nothing_is_stored(self, web: Server) -> None:
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

    async def test_an_app_has_its_own_way(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.get("/cached")
        assert answer.headers.get_list("cache-control") == ["max-age=60"]


class TestLogAndMetrics:
    @pytest.fixture
    def web(self) -> Iterator[Server]:
        """One of its own: a line is written just after its answer, which may be in another test already."""
        with serving(an_app(), max_body_bytes=4096) as running:
            yield running

    async def test_a_request_is_one_line(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/v1/tickets/1?q=1", headers={"X-Request-Id": "one"})
        await becomes_true(lambda: lines)
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
        await becomes_true(lambda: len(requests_in(lines)) == 4)
        assert "hunter2" not in repr(lines).lower()

    async def test_probes_are_logged_as_any_request(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/health/ready")
            await http.get("/metrics")
            await http.get("/healthy")
        await becomes_true(lambda: len(lines) == 3)
        assert [line["log_level"] for line in lines] == ["info", "info", "info"]

    async def test_requests_are_counted_and_timed_by_template(self, web: Server) -> None:
        route = "/v1/tickets/{ticket_id}"
        before = counted("GET", route, 200), counted("GET", route, 422), timed("GET", route)
        async with web.http() as http:
            for ticket in (1, 2, "x"):
                await http.get(f"/v1/tickets/{ticket}")
        await becomes_true(lambda: timed("GET", route) == before[2] + 3)
        assert counted("GET", route, 200) == before[0] + 2
        assert counted("GET", route, 422) == before[1] + 1

    async def test_no_label_holds_what_a_caller_made_up(self, web: Server) -> None:
        before = counted("OTHER", "unmatched", 404)
        async with web.http() as http:
            await http.request("PROPFIND", "/hunter3")
        await becomes_true(lambda: counted("OTHER", "unmatched", 404) == before + 1)
        labels = {v for metric in REGISTRY.collect() for sample in metric.samples for v in sample.labels.values()}
        assert not labels & {"PROPFIND", "/hunter3"}

    async def test_what_is_in_flight_is_a_gauge(self) -> None:
        def in_flight() -> float | None:
            return REGISTRY.get_sample_value("tessera_http_requests_in_flight")

        before = in_flight() or 0
        with serving(an_app(gate := Gate())) as web:
            async with web.http() as http:
                held = asyncio.create_task(http.get("/hold"))
                await becomes_true(gate.entered.is_set)
                assert in_flight() == before + 1
                gate.opened.set()
                await held
            await becomes_true(lambda: in_flight() == before)

    async def test_a_client_that_leaves_is_a_499(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.say(post("/notes", "Content-Length: 100"), b"{", pause=0.1)
        await becomes_true(lambda: lines)
        assert [line["status"] for line in lines] == [499]

    async def test_nor_is_one_that_leaves_while_it_is_served_a_defect(self, lines: list[Any]) -> None:
        with serving(an_app(gate := Gate())) as web:
            async with web.connected() as wire:
                await wire.say(get("/hold"))
                await becomes_true(gate.entered.is_set)
            await asyncio.sleep(0.05)
            gate.opened.set()
        assert [(line["event"], line["status"]) for line in lines] == [("request", 499)]

    async def test_a_line_never_names_the_request_before(self) -> None:
        seen: list[dict[str, Any]] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await receive()  # the server goes on reading in this task's context
                seen.append(structlog.contextvars.get_contextvars())
                structlog.contextvars.bind_contextvars(ticket=scope["path"])
                await Response("x")(scope, receive, send)

        with serving(app) as web:
            async with web.connected() as wire:
                # One after the other, then two at once.
                for batch in (["/1"], ["/2"], ["/3", "/4"]):
                    await wire.say(b"".join(get(path, f"X-Request-Id: {path[1:]}") for path in batch))
                    for _ in batch:
                        await wire.hear()
        assert seen == [{"request_id": n} for n in "1234"]

    async def test_a_refusal_is_counted_like_any_answer(self, web: Server) -> None:
        before = counted("GET", "unmatched", 414)
        async with web.http() as http:
            await http.get("/" + "a" * 8192)
        await becomes_true(lambda: counted("GET", "unmatched", 414) == before + 1)

    async def test_the_log_does_not_count_the_time_a_client_takes_to_finish(
        self, web: Server, lines: list[Any]
    ) -> None:
        async with web.connected() as wire:
            await wire.say(post("/notes", "Content-Length: 4097"))
            await becomes_true(lambda: requests_in(lines))
        assert requests_in(lines)[0]["ms"] < 500

    async def test_they_are_logged_once_with_the_request_id(self, web: Server, lines: list[Any]) -> None:
        async with web.http() as http:
            await http.get("/boom", headers={"X-Request-Id": "bad-day"})
        await becomes_true(lambda: requests_in(lines))
        error, request = lines
        assert (error["event"], error["log_level"], error["request_id"]) == ("unhandled_error", "error", "bad-day")
        assert str(error["exc_info"]) == "kaputt"
        assert (request["status"], request["request_id"]) == (500, "bad-day")

    async def test_half_an_answer_is_not_passed_off_as_whole(self, web: Server, lines: list[Any]) -> None:
        async with web.connected() as wire:
            await wire.say(get("/half"))
            assert (await wire.rest()).endswith(b"half\r\n")  # and no last chunk
        assert [line["event"] for line in lines] == ["unhandled_error", "request"]


class TestTheHead:
    async def test_an_address_of_eight_kibibytes_is_enough(self, web: Server) -> None:
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
            await wire.say(get("/v1/tickets/1", *headers) + get("/v1/tickets/1", *headers[:-1][:98]))
            refused = await wire.hear()
            assert (refused.status, refused.problem["code"]) == (431, "headers_too_large")
            assert (await wire.hear()).status == 200


class TestTheBody:
    async def test_one_that_fits_is_read(self, web: Server) -> None:
        async with web.http() as http:
            answer = await http.post("/digest", content=b"x" * 4096)
            assert (answer.status_code, answer.json()) == (200, 4096)
            chunked = await http.post("/digest", content=_parts(4, 1024))
            assert (chunked.status_code, chunked.json()) == (200, 4096)

    async def test_one_that_says_it_is_too_large_is_not_waited_for(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.say(post("/notes", "Content-Length: 4097"))
            refused = await wire.hear()
            assert (refused.status, refused.problem["code"]) == (413, "body_too_large")
            assert refused.headers["connection"] == "close"
            assert await wire.rest() == b""

    async def test_a_client_that_asks_first_need_not_send_it(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.say(post("/notes", "Content-Length: 4097", "Expect: 100-continue"))
            assert (await wire.hear()).status == 413

    @pytest.mark.parametrize("path", ["/notes", "/digest"])
    async def test_one_in_chunks_is_stopped_at_the_limit(self, web: Server, path: str) -> None:
        async with web.connected() as wire:
            chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
            await wire.say(post(path, "Transfer-Encoding: chunked"), *[chunk] * 5)
            refused = await wire.hear()
        assert (refused.status, refused.problem["code"]) == (413, "body_too_large")

    async def test_a_client_that_sends_it_all_the_same_gets_its_answer(self, web: Server) -> None:
        async with web.connected() as wire:
            body = b"x" * 16_000_000  # more than the buffers between us hold
            await wire.say(post("/notes", f"Content-Length: {len(body)}"), body, pause=0.1)
            assert (await wire.hear()).status == 413
            assert await wire.rest() == b""

    @pytest.mark.parametrize("path", ["/notes", "/digest"])
    async def test_one_that_does_not_come_is_a_408(self, path: str, lines: list[Any]) -> None:
        with serving(an_app(), body_timeout=0.2) as web:
            async with web.connected() as wire:
                began = time.monotonic()
                await wire.say(post(path, "Content-Length: 10"), b"{")
                refused = await wire.hear()
                assert 0.2 <= time.monotonic() - began < 1
                assert (refused.status, refused.problem["code"]) == (408, "request_timeout")
                assert refused.headers["connection"] == "close"
        assert {line["event"] for line in lines} == {"request"}  # no defect of ours

    async def test_one_that_trickles_is_a_408(self) -> None:
        with serving(an_app(), body_timeout=0.3) as web:
            async with web.connected() as wire:
                began = time.monotonic()
                await wire.say(post("/digest", "Content-Length: 100"))
                answer = asyncio.create_task(wire.hear())
                while not answer.done():
                    await wire.say(b"x", pause=0.05)
                assert (await answer).status == 408
                assert time.monotonic() - began < 1.5

    async def test_an_app_that_takes_its_time_is_not_the_clients_fault(self) -> None:
        with serving(an_app(), body_timeout=0.3) as web:
            async with web.connected() as wire:
                await wire.say(post("/digest", "Content-Length: 2"), b"x", b"x", pause=0.05)
                answer = await wire.hear()
        assert (answer.status, answer.body) == (200, b"2")

    async def test_one_that_nobody_reads_leaves_the_connection_open(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.say(post("/unread", "Content-Length: 4096"), pause=0.05)
            assert (await wire.hear()).status == 401
            await wire.say(b"x" * 4096 + get("/v1/tickets/1"))
            assert (await wire.hear()).status == 200

    async def test_a_refusal_after_the_answer_began_ends_the_connection(self, lines: list[Any]) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"half", "more_body": True})
                while (await receive())["more_body"]:
                    pass

        with serving(app, body_timeout=0.1) as web:
            async with web.connected() as wire:
                await wire.say(post("/", "Content-Length: 10"))
                assert (await wire.rest()).endswith(b"half\r\n")  # and no last chunk
        assert {line["event"] for line in lines} == {"request"}  # no defect of ours


async def _parts(number: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * size


class TestUnexpectedExceptions:
    async def test_they_are_a_problem_and_the_connection_stays(self, web: Server) -> None:
        async with web.connected() as wire:
            # All at once, and a body that nobody reads among them.
            await wire.say(get("/boom"), post("/boom", "Content-Length: 3") + b"abc" + get("/v1/tickets/1"))
            for _ in range(2):
                failed = await wire.hear()
                assert (failed.status, failed.problem["code"]) == (500, "internal_error")
                assert "connection" not in failed.headers
                assert b"kaputt" not in failed.body
            assert (await wire.hear()).status == 200

    async def test_an_answer_to_head_has_no_body(self, web: Server) -> None:
        async with web.connected() as wire:
            await wire.say(get("/boom").replace(b"GET", b"HEAD") + get("/v1/tickets/1"))
            assert (await wire.hear(head_only=True)).status == 500
            assert (await wire.hear()).status == 200

    async def test_an_app_that_says_nothing_is_answered_for(self) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            """Say nothing."""

        with serving(app) as web:
            async with web.http() as http:
                answer = await http.get("/")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


class TestOverload:
    async def test_one_too_many_is_turned_away_at_once(self) -> None:
        before = counted("GET", "unmatched", 503)
        with serving(an_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http:
                held = asyncio.create_task(http.get("/hold"))
                await becomes_true(gate.entered.is_set)
                refused = await http.get("/v1/tickets/1")
                assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
                assert refused.headers["retry-after"] == "1"
                assert refused.headers["content-type"] == PROBLEM_MEDIA_TYPE
                assert [(await http.get(p)).status_code for p in ("/health/ready", "/metrics")] == [200, 200]
                assert (await http.get("/healthy")).status_code == 503
                gate.opened.set()
                assert (await held).status_code == 200
                assert (await http.get("/v1/tickets/1")).status_code == 200
        assert counted("GET", "unmatched", 503) == before + 2

    async def test_a_place_is_free_again_whatever_happened_to_the_request(self) -> None:
        with serving(an_app(), max_concurrent_requests=1, body_timeout=0.1) as web:
            async with web.connected() as gone, web.connected() as slow:
                await gone.say(post("/notes", "Content-Length: 100"), pause=0.05)
                gone.writer.close()
                await asyncio.sleep(0.05)
                await slow.say(post("/notes", "Content-Length: 100"))
                assert (await slow.hear()).status == 408
            async with web.http() as http:
                statuses = [(await http.get(path)).status_code for path in ("/boom", "/none", "/v1/tickets/1")]
        assert statuses == [500, 404, 200]


class TestStreams:
    async def test_they_flow(self) -> None:
        with serving(an_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http, http.stream("GET", "/stream") as answer:
                assert answer.headers["cache-control"] == "no-store"
                parts = answer.aiter_text()
                assert await anext(parts) == "data: 1\n\n"
                assert (await http.get("/v1/tickets/1")).status_code == 503  # a stream has its place
                gate.opened.set()
                assert await anext(parts) == "data: 2\n\n"

    async def test_one_that_a_body_asked_for_may_take_its_time(self) -> None:
        with serving(an_app(gate := Gate()), body_timeout=0.1) as web:
            async with web.http() as http, http.stream("POST", "/stream", json={"text": "0"}) as answer:
                parts = answer.aiter_text()
                assert await anext(parts) == "data: 0\n\n"
                await asyncio.sleep(0.2)
                gate.opened.set()
                assert await anext(parts) == "data: 2\n\n"

    async def test_one_that_nobody_listens_to_any_more_gives_its_place_back(self) -> None:
        with serving(an_app(gate := Gate()), max_concurrent_requests=1) as web:
            async with web.http() as http:
                async with http.stream("GET", "/stream"):
                    await becomes_true(gate.entered.is_set)
                async with asyncio.timeout(PATIENCE):
                    while (await http.get("/v1/tickets/1")).status_code != 200:  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.01)


async def test_what_is_not_http_passes_through() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seen.append("started")
        yield
        seen.append("stopped")

    with serving(FastAPI(lifespan=lifespan)):
        assert seen == ["started"]
    assert seen == ["started", "stopped"]
