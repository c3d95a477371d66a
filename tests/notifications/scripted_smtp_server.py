"""A scripted SMTP server on loopback, and the EMAIL channel that talks to it."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from app.core.ids import new_id
from app.core.outbox.channels import Channel, Outcome, Result
from app.notifications.channel import make_email_channel
from app.notifications.mails import OutgoingMail

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from app.core.outbox.channels import Sender

SENT = Outcome(Result.SENT)
MAIL_FROM = "Growfin Desk <desk@growfin.com>"
USER, PASSWORD = "desk@growfin.com", "s3cret/p@ss:wörd"
ENCODED_LOGIN = "desk%40growfin.com:s3cret%2Fp%40ss%3Aw%C3%B6rd"
NOWHERE = Path("/nowhere")


def make_message(recipient: str = "ann@customer.example", **changes: Any) -> OutgoingMail:
    message = OutgoingMail(
        org_id=UUID(int=1),
        id=new_id(),
        recipient=recipient,
        subject="Export für Zoë",
        text="Hello Zoë\n",
        html="<p>Hello Zoë</p>\n",
        reply_to=None,
        link=None,
        link_id=None,
        created_at=datetime(2026, 12, 21, 13, 5, tzinfo=UTC),
    )
    return replace(message, **changes)


@dataclass
class ScriptedSmtpServer:
    """An SMTP server that records mails and commands. `replies` are its next replies by command or recipient."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    replies: dict[str, list[str]] = field(default_factory=dict)
    connections: list[SMTP] = field(default_factory=list)
    connections_to_drop: int = 0
    delay: float = 0.0  # seconds
    echo_password: bool = False
    silent: bool = False  # new connections get no greeting

    def url(self, login: str = "", scheme: str = "smtp", host: str = "127.0.0.1", query: str = "") -> str:
        return f"{scheme}://{login}{'@' if login else ''}{host}:{self.port}{query}"

    def recipients(self) -> list[str]:
        return [address for mail in self.mails for address in mail.rcpt_tos]

    def hang_up(self) -> None:
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.close()

    def _reply(self, command: str) -> str | None:
        replies = self.replies.get(command, [])
        return replies.pop(0) if replies else None

    async def handle_MAIL(  # noqa: N802 - the name aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.commands["MAIL"] += 1
        if reply := self._reply("MAIL"):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - the name aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if reply := self._reply(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the name aiosmtpd calls
        await asyncio.sleep(self.delay)
        if self.connections_to_drop:
            self.connections_to_drop -= 1
            cast("asyncio.Transport", server.transport).abort()
        if reply := self._reply("DATA"):
            return reply
        self.mails.append(envelope)
        self.sessions.append(session)
        return "250 OK"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 - the name aiosmtpd calls
        self.commands["QUIT"] += 1
        return "221 Bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, login: LoginPassword
    ) -> AuthResult:
        self.commands["AUTH"] += 1
        if (login.login, login.password) == (USER.encode(), PASSWORD.encode()):
            return AuthResult(success=True)
        said = login.password.decode()
        plain = base64.b64encode(f"\0{login.login.decode()}\0{said}".encode()).decode()
        message = f"535 {mechanism} {said} {base64.b64encode(said.encode()).decode()} {plain}"
        return AuthResult(success=False, handled=False, message=message if self.echo_password else None)


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        stream.write(b"421 4.7.0 Too many connections\r\n")
        stream.close()


@asynccontextmanager
async def running_scripted_server(
    tls: ssl.SSLContext | None = None, *, implicit: bool = False, max_connections: int = 100, **options: Any
) -> AsyncIterator[ScriptedSmtpServer]:
    smtp_server = ScriptedSmtpServer()
    loop = asyncio.get_running_loop()

    def connected() -> asyncio.BaseProtocol:
        if smtp_server.silent:
            return asyncio.Protocol()
        if len(smtp_server.connections) >= max_connections:
            return _Refusal()
        start_tls = None if implicit else tls
        smtp_server.connections.append(
            SMTP(smtp_server, hostname="mail.test", loop=loop, tls_context=start_tls, **options)
        )
        return smtp_server.connections[-1]

    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=tls if implicit else None)
    smtp_server.port = server.sockets[0].getsockname()[1]
    try:
        yield smtp_server
    finally:
        server.close()
        smtp_server.hang_up()
        await asyncio.sleep(0)


def make_channel(
    url: str | None, mail_dir: Path = NOWHERE, mail_from: str = MAIL_FROM, **options: Any
) -> Channel[OutgoingMail]:
    return make_email_channel(smtp_url=url, mail_from=mail_from, mail_dir=mail_dir, **options)


def open_sender(smtp_server: ScriptedSmtpServer, **options: Any) -> AbstractAsyncContextManager[Sender[OutgoingMail]]:
    return make_channel(smtp_server.url(), **options).open()
