"""Count the round trips of a request to the database, with a proxy between the process and the server's socket.

The proxy parses the client's messages (PostgreSQL manual, "Message Formats"): after a Query, Sync or Flush the client
waits for the server.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import httpx
from sqlalchemy import make_url

from benchmarks.processes import Place, Web
from benchmarks.requests import Request

WARM_UP_REQUESTS = 10  # enough to prepare every statement
_SOCKET = ".s.PGSQL.5432"
_ROUND_TRIP_KINDS = frozenset({ord("Q"), ord("S"), ord("H")})


@dataclass(frozen=True)
class RoundTrips:
    """Mean round trips per request. BEGIN and COMMIT are counted separately."""

    statements: float
    statements_first: float
    """Of the first request with a credential, which must be looked up."""
    transactions: float
    """BEGIN and COMMIT of a request whose credential is cached."""


class Count:
    """The round trips since the last call of `take`."""

    def __init__(self) -> None:
        self._statements = self._transactions = 0

    def add(self, kind: int, payload: bytes) -> None:
        """Count a message."""
        if kind == ord("Q") and payload.startswith((b"BEGIN", b"COMMIT", b"ROLLBACK")):
            self._transactions += 1
        elif kind in _ROUND_TRIP_KINDS:
            self._statements += 1

    def take(self) -> tuple[int, int]:
        """Return the counts of statements and of BEGINs and COMMITs, and reset them."""
        taken = self._statements, self._transactions
        self._statements = self._transactions = 0
        return taken


class Messages:
    """Split a client's data into messages. The first message, which opens the connection, has no kind byte."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_open = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the kind and payload of each message that is now complete."""
        self._buffer += data
        while True:
            head = 1 if self._is_open else 0
            if len(self._buffer) < head + 4:
                return
            end = head + int.from_bytes(self._buffer[head : head + 4])
            if len(self._buffer) < end:
                return
            if self._is_open:
                yield self._buffer[0], self._buffer[head + 4 : end]
            self._is_open = True
            self._buffer = self._buffer[end:]


def count(
    start: Callable[[Place], AbstractContextManager[Web]], where: Place, requests: Sequence[Request]
) -> RoundTrips:
    """Start a web process behind the proxy, send it requests one after the other, and count round trips."""
    return asyncio.run(_count(start, where, requests))


async def _count(
    start: Callable[[Place], AbstractContextManager[Web]], where: Place, requests: Sequence[Request]
) -> RoundTrips:
    counted = Count()
    async with _proxy(where.database_url, counted) as url:
        proxied = Place(url, where.folder, where.secret_key)
        starting = start(proxied)
        web = await asyncio.to_thread(starting.__enter__)
        try:
            return await _send_all(web, requests, counted)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


async def _send_all(web: Web, requests: Sequence[Request], counted: Count) -> RoundTrips:
    by_organisation: dict[str, list[Request]] = {}
    for request in requests:
        by_organisation.setdefault(request.org_id, []).append(request)
    warm_up, *others = by_organisation.values()
    first: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{web.port}") as client:
        for request in warm_up[:WARM_UP_REQUESTS]:
            await _send(client, request)
        counted.take()
        for same_organisation in others:
            for place, request in enumerate(same_organisation[:4]):
                await _send(client, request)
                (later if place else first).append(counted.take())
    return RoundTrips(
        statements=fmean(statements for statements, _ in later),
        statements_first=fmean(statements for statements, _ in first),
        transactions=fmean(transactions for _, transactions in later),
    )


async def _send(client: httpx.AsyncClient, request: Request) -> None:
    headers = {**request.headers, **({"Content-Type": "application/json"} if request.body else {})}
    response = await client.request(request.method, request.path, headers=headers, content=request.body)
    response.raise_for_status()


@asynccontextmanager
async def _proxy(database_url: str, counted: Count) -> AsyncIterator[str]:
    """Run the proxy on a separate socket; yields the database URL that leads through it."""
    url = make_url(database_url)
    host = url.query["host"]
    assert isinstance(host, str)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(Path(host, _SOCKET)))
        await asyncio.gather(_forward(reader, server_writer, counted), _forward(server_reader, writer, None))

    with tempfile.TemporaryDirectory(prefix="tessera-proxy-") as folder:
        async with await asyncio.start_unix_server(connected, str(Path(folder, _SOCKET))):
            yield url.update_query_dict({"host": folder}).render_as_string(hide_password=False)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Count | None) -> None:
    messages = Messages()
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            if counted:
                for kind, payload in messages.feed(data):
                    counted.add(kind, payload)
            writer.write(data)
            await writer.drain()
    writer.close()
