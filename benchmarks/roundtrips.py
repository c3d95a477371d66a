"""How often a request waits for the database: counted by a relay between the process and the server's socket.

It reads the frontend's messages (PostgreSQL's manual, "Message Formats"): after a Query, a Sync or a Flush the client
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

WARM_UP = 10  # requests, by which each statement has been prepared
_SOCKET = ".s.PGSQL.5432"
_WAITS = frozenset({ord("Q"), ord("S"), ord("H")})


@dataclass(frozen=True)
class RoundTrips:
    """Means per request. BEGIN and COMMIT are counted apart."""

    statements: float
    statements_first: float
    """Of the first request with a credential, which has to be looked up."""
    transactions: float
    """BEGIN and COMMIT, of a request whose credential is known."""


class Count:
    """What went over the wire since it was last asked."""

    def __init__(self) -> None:
        self._statements = self._transactions = 0

    def add(self, kind: int, payload: bytes) -> None:
        """Take note of a message."""
        if kind == ord("Q") and payload.startswith((b"BEGIN", b"COMMIT", b"ROLLBACK")):
            self._transactions += 1
        elif kind in _WAITS:
            self._statements += 1

    def take(self) -> tuple[int, int]:
        """Statements, and BEGINs and COMMITs; begins to count anew."""
        taken = self._statements, self._transactions
        self._statements = self._transactions = 0
        return taken


class Messages:
    """Cuts what a frontend sends into messages. The first one, which opens the connection, has no kind."""

    def __init__(self) -> None:
        self._waiting = b""
        self._is_open = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The messages that are complete now: their kind and what they hold."""
        self._waiting += data
        while True:
            head = 1 if self._is_open else 0
            if len(self._waiting) < head + 4:
                return
            end = head + int.from_bytes(self._waiting[head : head + 4])
            if len(self._waiting) < end:
                return
            if self._is_open:
                yield self._waiting[0], self._waiting[head + 4 : end]
            self._is_open = True
            self._waiting = self._waiting[end:]


def count(
    start: Callable[[Place], AbstractContextManager[Web]], where: Place, requests: Sequence[Request]
) -> RoundTrips:
    """Start a web process with the relay before its database, and send it requests, one after the other."""
    return asyncio.run(_count(start, where, requests))


async def _count(
    start: Callable[[Place], AbstractContextManager[Web]], where: Place, requests: Sequence[Request]
) -> RoundTrips:
    counted = Count()
    async with _relay(where.database_url, counted) as url:
        through = Place(url, where.folder, where.secret_key)
        starting = start(through)
        web = await asyncio.to_thread(starting.__enter__)
        try:
            return await _ask(web, requests, counted)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)


async def _ask(web: Web, requests: Sequence[Request], counted: Count) -> RoundTrips:
    by_organisation: dict[str, list[Request]] = {}
    for request in requests:
        by_organisation.setdefault(request.org_id, []).append(request)
    warm_up, *others = by_organisation.values()
    first: list[tuple[int, int]] = []
    later: list[tuple[int, int]] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{web.port}") as client:
        for request in warm_up[:WARM_UP]:
            await _send(client, request)
        counted.take()
        for own in others:
            for place, request in enumerate(own[:4]):
                await _send(client, request)
                (later if place else first).append(counted.take())
    return RoundTrips(
        statements=fmean(statements for statements, _ in later),
        statements_first=fmean(statements for statements, _ in first),
        transactions=fmean(transactions for _, transactions in later),
    )


async def _send(client: httpx.AsyncClient, request: Request) -> None:
    headers = {**request.headers, **({"Content-Type": "application/json"} if request.body else {})}
    answer = await client.request(request.method, request.path, headers=headers, content=request.body)
    answer.raise_for_status()


@asynccontextmanager
async def _relay(database_url: str, counted: Count) -> AsyncIterator[str]:
    """Relay from a socket of our own; gives the database's address by that way."""
    url = make_url(database_url)
    host = url.query["host"]
    assert isinstance(host, str)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(str(Path(host, _SOCKET)))
        await asyncio.gather(_forward(reader, server_writer, counted), _forward(server_reader, writer, None))

    with tempfile.TemporaryDirectory(prefix="tessera-relay-") as folder:
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
