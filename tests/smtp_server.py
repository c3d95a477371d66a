"""An SMTP server on loopback that records mails, and whose replies a test can configure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True)
class Received:
    """A received mail. `at` is the time of the monotonic clock, in seconds."""

    message_id: str
    sender: str
    recipient: str
    at: float
    content: bytes


@dataclass
class SmtpServer:
    port: int = 0
    received: list[Received] = field(default_factory=list)
    refused: list[Received] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)  # by recipient, one per attempt
    delay: float = 0.0  # seconds before each mail is accepted
    hanging: set[str] = field(default_factory=set)  # domains of recipients whose mails are never accepted
    max_open: int = 0  # connections at the same time, so far
    _open: int = 0
    _resumed: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def pause(self) -> None:
        """Let mails wait until `resume` is called."""
        self._resumed = asyncio.Event()

    def resume(self) -> None:
        assert self._resumed is not None
        self._resumed.set()

    def count_open(self, change: int) -> None:
        self._open += change
        self.max_open = max(self.max_open, self._open)

    def recipients(self) -> list[str]:
        return [mail.recipient for mail in self.received]

    def count_copies(self) -> Counter[str]:
        return Counter(mail.message_id for mail in self.received)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - the name aiosmtpd calls
        content = envelope.content
        assert isinstance(content, bytes)
        assert envelope.mail_from is not None
        (recipient,) = envelope.rcpt_tos
        await asyncio.sleep(self.delay)
        if recipient.rpartition("@")[2] in self.hanging:
            await asyncio.Event().wait()
        if self._resumed is not None:
            await self._resumed.wait()
        message_id = str(message_from_bytes(content)["Message-ID"])
        mail = Received(message_id, envelope.mail_from, recipient, time.monotonic(), content)
        if replies := self.replies.get(recipient):
            reply = replies.pop(0)
            if not reply.startswith("250"):
                self.refused.append(mail)
                return reply
        self.received.append(mail)
        return "250 OK"


class _CountedSmtp(SMTP):
    """A connection that the server counts while it is open."""

    def __init__(self, smtp_server: SmtpServer, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(smtp_server, hostname="mail.test", loop=loop)
        self._smtp_server = smtp_server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._smtp_server.count_open(1)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._smtp_server.count_open(-1)
        super().connection_lost(error)


@asynccontextmanager
async def running_smtp_server() -> AsyncIterator[SmtpServer]:
    smtp_server = SmtpServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _CountedSmtp(smtp_server, loop), "127.0.0.1", 0)
    smtp_server.port = server.sockets[0].getsockname()[1]
    try:
        yield smtp_server
    finally:
        server.close()
        await server.wait_closed()
