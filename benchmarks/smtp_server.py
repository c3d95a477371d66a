"""An SMTP server in a thread, with as little work per mail as possible, which notes when it received each mail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

GREETING = b"220 mail.test ESMTP\r\n"
CAPABILITIES = b"250-mail.test\r\n250-SIZE 10000000\r\n250 8BITMIME\r\n"
POLL_INTERVAL = 0.002  # seconds


@dataclass(frozen=True)
class Received:
    """A received mail: when the client began to transfer it, and when the server accepted it."""

    recipient: str
    began: float
    accepted: float


@dataclass
class SmtpServer:
    """A running server. `delay` is in seconds; mails to the domains of `hanging` are never accepted."""

    port: int = 0
    delay: float = 0.0
    hanging: set[str] = field(default_factory=set)
    received: list[Received] = field(default_factory=list)

    def wait_for(self, recipient: str, timeout: float) -> float:
        """Wait until the recipient has a mail; return the seconds from now, or `timeout` if there is none by then."""
        started, checked = time.perf_counter(), 0
        while time.perf_counter() - started < timeout:
            while checked < len(self.received):
                if self.received[checked].recipient == recipient:
                    return max(0.0, self.received[checked].accepted - started)
                checked += 1
            time.sleep(POLL_INTERVAL)
        return timeout

    def wait_for_count(self, count: int, timeout: float) -> float:
        """Wait until the server has received so many mails; return their rate, from the first to the last."""
        deadline = time.perf_counter() + timeout
        while len(self.received) < count and time.perf_counter() < deadline:
            time.sleep(POLL_INTERVAL)
        received = list(self.received)
        return len(received) / (received[-1].accepted - min(one.began for one in received)) if received else 0.0


class _Connection(asyncio.Protocol):
    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._buffer = b""
        self._recipient = ""
        self._began: float | None = None  # while a mail is transferred

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n" if self._began is None else b"\r\n.\r\n"
            line, separator, rest = self._buffer.partition(end)
            if not separator:
                return
            self._buffer = rest
            if self._began is None:
                self._reply_to(line)
            else:
                self._receive(self._began)
                self._began = None

    def _reply_to(self, line: bytes) -> None:
        match line[:4].upper():
            case b"EHLO":
                self._transport.write(CAPABILITIES)
            case b"RCPT":
                self._recipient = line.decode().partition("<")[2].partition(">")[0]
                self._transport.write(b"250 OK\r\n")
            case b"DATA":
                self._began = time.perf_counter()
                self._transport.write(b"354 Go on\r\n")
            case b"QUIT":
                self._transport.write(b"221 Bye\r\n")
                self._transport.close()
            case _:
                self._transport.write(b"250 OK\r\n")

    def _receive(self, began: float) -> None:
        if self._recipient.rpartition("@")[2] in self._server.hanging:
            return
        if self._server.delay:
            asyncio.get_running_loop().call_later(self._server.delay, self._accept, self._recipient, began)
        else:
            self._accept(self._recipient, began)

    def _accept(self, recipient: str, began: float) -> None:
        self._server.received.append(Received(recipient, began, time.perf_counter()))
        self._transport.write(b"250 OK\r\n")


@contextmanager
def running(delay: float = 0.0) -> Iterator[SmtpServer]:
    """Run a server in a thread of its own."""
    server, started = SmtpServer(delay=delay), threading.Event()
    loop = asyncio.new_event_loop()

    def serve() -> None:
        listening = loop.run_until_complete(loop.create_server(lambda: _Connection(server), "127.0.0.1", 0))
        server.port = listening.sockets[0].getsockname()[1]
        started.set()
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
