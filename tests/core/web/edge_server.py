"""A real server behind the edge, an application with good and bad behaviour, and clients."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import REGISTRY
from pydantic import BaseModel

from app.core.config import Settings
from app.core.web.edge import Edge
from app.core.web.problems import PROBLEM_MEDIA_TYPE, install_error_handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.types import ASGIApp

ORG = "0190b8e5-0000-7000-8000-000000000001"
TIMEOUT = 5.0  # seconds; much more than any of these tests needs
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading the usual certificates takes longer than a test


class Note(BaseModel):
    """A JSON body."""

    text: str


class Gate:
    """Hold a request while it is served: `entered` tells the test about it, and `opened` lets it continue."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    async def pass_through(self) -> None:
        self.entered.set()
        while not self.opened.is_set():  # noqa: ASYNC110 - the test is in another thread
            await asyncio.sleep(0.01)


def make_app(gate: Gate | None = None) -> FastAPI:
    """Make an app with all kinds of behaviour that the edge must handle."""
    app = FastAPI()
    install_error_handlers(app)
    _add_bodies(app)
    _add_failures(app)
    _add_slow_responses(app, gate or Gate())
    _add_headers(app)
    return app


def _add_bodies(app: FastAPI) -> None:
    @app.get("/v1/tickets/{ticket_id}")
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


def _add_failures(app: FastAPI) -> None:
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


def _add_slow_responses(app: FastAPI, gate: Gate) -> None:
    @app.get("/hold")
    @app.post("/hold", operation_id="held")
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


def _add_headers(app: FastAPI) -> None:
    @app.get("/cached")
    async def cached() -> Response:
        return Response("x", headers={"Cache-Control": "max-age=60"})

    @app.get("/health/ready")
    @app.get("/healthy")
    @app.get("/metrics")
    async def fine() -> str:
        return "fine"


class Server(NamedTuple):
    """A running server."""

    port: int

    def http(self) -> httpx.AsyncClient:
        url = f"http://127.0.0.1:{self.port}"
        return httpx.AsyncClient(base_url=url, verify=NO_TLS, trust_env=False, timeout=TIMEOUT)

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
    """A parsed response."""

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
    """A plain connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes, pause: float = 0) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def receive_response(self, *, head_only: bool = False) -> Answer:
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = 0 if head_only else int(headers.get("content-length", 0))
            return Answer(int(first.split()[1]), headers, await self.reader.readexactly(size))

    async def read_to_end(self) -> bytes:
        """Read until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read()


@contextmanager
def serving(app: ASGIApp, *, http: Any = "httptools", keep_alive: Any = 5, **settings: Any) -> Iterator[Server]:
    """Run a server with the settings of production, in another thread."""
    edge = Edge(app, Settings(_env_file=None, **settings), operational_paths=("/health/ready", "/metrics"))
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
    until = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < until, "the condition did not become true"
        time.sleep(0.005)


async def assert_eventually(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(_wait_for, condition)


def get(path: str, *headers: str) -> bytes:
    """Make the bytes of a request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def post(path: str, *headers: str) -> bytes:
    """Make the bytes of the head of a POST request."""
    return get(path, *headers).replace(b"GET", b"POST", 1)


def requests_in(lines: list[Any]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "request"]


def read_request_count(method: str, route: str, status: int) -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("tessera_http_requests_total", labels) or 0.0


def read_timing_count(method: str, route: str) -> float:
    labels = {"method": method, "route": route}
    return REGISTRY.get_sample_value("tessera_http_request_seconds_count", labels) or 0.0
