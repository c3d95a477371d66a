"""The EMAIL channel, against real SMTP servers on loopback and real files."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from app.core.deliveries import Channel, Message, Outcome, Result
from app.core.ids import new_id
from app.notifications.mail import email_channel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from app.core.deliveries import Sender

SENT = Outcome(Result.SENT)
MAIL_FROM = "Growfin Desk <desk@growfin.com>"
USER, PASSWORD = "desk@growfin.com", "s3cret/p@ss:wörd"
ENCODED_LOGIN = "desk%40growfin.com:s3cret%2Fp%40ss%3Aw%C3%B6rd"
NOWHERE = Path("/nowhere")


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def a_message(recipient: str = "ann@customer.example", **changes: Any) -> Message:
    message = Message(
        org_id=UUID(int=1),
        id=new_id(),
        channel="EMAIL",
        recipient=recipient,
        subject="Export für Zoë",
        text="Hello Zoë\n",
        html="<p>Hello Zoë</p>\n",
        created_at=datetime(2026, 12, 21, 13, 5, tzinfo=UTC),
    )
    return replace(message, **changes)


@dataclass
class Relay:
    """What an SMTP server was told, and what it has been told to answer; a reply is given as often as it is listed."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    commands: Counter[str] = field(default_factory=Counter)
    replies: dict[str, list[str]] = field(default_factory=dict)
    connections: list[SMTP] = field(default_factory=list)
    drop_in_data: int = 0
    delay: float = 0.0  # seconds
    echo_password: bool = False

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

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.commands["MAIL"] += 1
        if reply := self._reply("MAIL"):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if reply := self._reply(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.delay)
        if self.drop_in_data:
            self.drop_in_data -= 1
            cast("asyncio.Transport", server.transport).abort()
        if reply := self._reply("DATA"):
            return reply
        self.mails.append(envelope)
        self.sessions.append(session)
        return "250 OK"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
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


@asynccontextmanager
async def a_relay(tls: ssl.SSLContext | None = None, *, implicit: bool = False, **options: Any) -> AsyncIterator[Relay]:
    relay = Relay()
    loop = asyncio.get_running_loop()

    def connected() -> SMTP:
        start_tls = None if implicit else tls
        relay.connections.append(SMTP(relay, hostname="mail.test", loop=loop, tls_context=start_tls, **options))
        return relay.connections[-1]

    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=tls if implicit else None)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.hang_up()
        await asyncio.sleep(0)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with a_relay(enable_SMTPUTF8=True) as running:
        yield running


def a_channel(url: str | None, mail_dir: Path = NOWHERE, mail_from: str = MAIL_FROM, **options: Any) -> Channel:
    return email_channel(smtp_url=url, mail_from=mail_from, mail_dir=mail_dir, **options)


def a_sender(relay: Relay, **options: Any) -> AbstractAsyncContextManager[Sender]:
    return a_channel(relay.url(), **options)()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of `localhost` and 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


# --- over SMTP


async def test_a_mail_arrives(relay: Relay) -> None:
    message = a_message(reply_to="help@growfin.com")
    async with a_sender(relay) as sender:
        assert await sender.send(message) == SENT

    (envelope,) = relay.mails
    assert envelope.mail_from == "desk@growfin.com"
    assert envelope.rcpt_tos == ["ann@customer.example"]
    mail = message_from_bytes(cast("bytes", envelope.content), policy=default)
    assert mail["Subject"] == "Export für Zoë"
    assert mail["Message-ID"] == f"<{message.id}@growfin.com>"
    assert mail["Reply-To"] == "help@growfin.com"
    assert [part.get_content().strip() for part in mail.iter_parts()] == ["Hello Zoë", "<p>Hello Zoë</p>"]


async def test_one_connection_serves_a_pass_and_ends_with_quit(relay: Relay) -> None:
    recipients = [f"user{n}@customer.example" for n in range(20)]
    async with a_sender(relay) as sender:
        outcomes = [await sender.send(a_message(recipient)) for recipient in recipients]

    assert outcomes == [SENT] * 20
    assert relay.recipients() == recipients
    assert len(relay.connections) == 1
    assert relay.commands["QUIT"] == 1


async def test_a_pass_without_mail_connects_to_nothing(relay: Relay) -> None:
    async with a_sender(relay):
        pass

    assert relay.connections == []


async def test_sends_at_the_same_time_take_turns_on_one_connection(relay: Relay) -> None:
    relay.delay = 0.002
    recipients = [f"user{n}@customer.example" for n in range(20)]
    async with a_sender(relay) as sender:
        outcomes = await asyncio.gather(*(sender.send(a_message(recipient)) for recipient in recipients))

    assert outcomes == [SENT] * 20
    assert [envelope.rcpt_tos for envelope in relay.mails] == [[recipient] for recipient in recipients]
    assert len(relay.connections) == 1


async def test_a_text_that_looks_like_smtp_stays_a_text(relay: Relay) -> None:
    text = "Hello\r\n.\r\nMAIL FROM:<eve@evil.example>\n.\nQUIT\n.start\n..\n"
    async with a_sender(relay) as sender:
        assert await sender.send(a_message(text=text, html=None)) == SENT
        assert await sender.send(a_message()) == SENT

    assert [envelope.mail_from for envelope in relay.mails] == ["desk@growfin.com"] * 2
    mail = message_from_bytes(cast("bytes", relay.mails[0].content), policy=default)
    assert mail.get_content().splitlines() == text.splitlines()


# --- what the server refuses


@pytest.mark.parametrize(
    ("where", "reply", "result"),
    [
        ("ann@customer.example", "550 5.1.1 No such user", Result.PERMANENT),
        ("ann@customer.example", "553 5.1.3 Bad address", Result.PERMANENT),
        ("ann@customer.example", "450 4.2.1 Greylisted", Result.TEMPORARY),
        ("ann@customer.example", "452 4.2.2 Mailbox full", Result.TEMPORARY),
        ("ann@customer.example", "530 5.7.0 Authenticate first", Result.TEMPORARY),
        ("DATA", "554 5.7.1 Looks like spam", Result.PERMANENT),
        ("DATA", "451 4.3.0 Try later", Result.TEMPORARY),
        ("MAIL", "552 5.3.4 Too large", Result.PERMANENT),
        ("MAIL", "550 5.7.1 Sender not allowed", Result.TEMPORARY),
        ("MAIL", "451 4.3.0 Try later", Result.TEMPORARY),
    ],
)
async def test_a_refusal_concerns_one_mail(relay: Relay, where: str, reply: str, result: Result) -> None:
    relay.replies[where] = [reply]
    async with a_sender(relay) as sender:
        refused = await sender.send(a_message())
        accepted = await sender.send(a_message("bob@customer.example"))

    assert refused.result == result
    assert reply in (refused.error or "")
    assert accepted == SENT
    assert relay.recipients() == ["bob@customer.example"]
    assert len(relay.connections) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "not an address"},
        {"recipient": "ann@customer.example\r\nRCPT TO:<eve@evil.example>"},
        {"reply_to": "help@growfin.com\nBcc: eve@evil.example"},
        {"text": "\ud800"},
    ],
)
async def test_what_cannot_be_a_mail_fails_alone(relay: Relay, changes: dict[str, str]) -> None:
    async with a_sender(relay) as sender:
        failed = await sender.send(a_message(**changes))
        assert await sender.send(a_message("bob@customer.example")) == SENT

    assert failed.result == Result.PERMANENT
    assert failed.error
    assert "\n" not in failed.error
    assert relay.recipients() == ["bob@customer.example"]


async def test_an_address_that_is_not_ascii_goes_to_a_server_that_takes_it(relay: Relay) -> None:
    async with a_sender(relay) as sender:
        assert await sender.send(a_message("zoë@bücher.example")) == SENT

    assert relay.recipients() == ["zoë@xn--bcher-kva.example"]
    assert "SMTPUTF8" in relay.mails[0].mail_options


async def test_an_address_that_is_not_ascii_fails_alone_where_it_is_not_taken() -> None:
    async with a_relay() as relay, a_sender(relay) as sender:
        failed = await sender.send(a_message("zoë@customer.example"))
        assert await sender.send(a_message("z@bücher.example")) == SENT

        assert failed.result == Result.PERMANENT
        assert relay.recipients() == ["z@xn--bcher-kva.example"]


async def test_a_reply_of_any_bytes_can_be_stored() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no\x00 \xff\xfe\x1b[31m" + b"x" * 2000 + b"\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with a_channel(f"smtp://127.0.0.1:{port}")() as sender:
            outcome = await sender.send(a_message())

    assert outcome.result == Result.TEMPORARY
    assert (outcome.error or "").isprintable()
    assert (outcome.error or "").encode()
    assert len(outcome.error or "") == 300


async def test_a_defect_of_ours_is_an_outcome_too(relay: Relay) -> None:
    with capture_logs() as logs:
        async with a_sender(relay) as sender:
            outcome = await sender.send(a_message(created_at="yesterday"))

    assert outcome.result == Result.TEMPORARY
    assert [(log["event"], log["error"]) for log in logs] == [("mail_not_sent", "AttributeError")]
    assert "mime.py" in logs[0]["where"]


# --- when the server is not there


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_server_that_hangs_up_between_mails_is_called_again(relay: Relay, noticed: bool) -> None:
    async with a_sender(relay) as sender:
        assert await sender.send(a_message("a@customer.example")) == SENT
        relay.hang_up()
        await asyncio.sleep(0.05 if noticed else 0)
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert relay.recipients() == ["a@customer.example", "b@customer.example"]
    assert len(relay.connections) == 2


async def test_a_server_that_takes_no_more_on_this_connection_is_called_again(relay: Relay) -> None:
    async with a_sender(relay) as sender:
        assert await sender.send(a_message("a@customer.example")) == SENT
        relay.replies["MAIL"] = ["421 4.7.0 Too many mails on this connection"]
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert relay.recipients() == ["a@customer.example", "b@customer.example"]
    assert len(relay.connections) == 2


async def test_a_mail_that_the_server_hung_up_on_is_tried_later(relay: Relay) -> None:
    relay.drop_in_data = 1
    async with a_sender(relay) as sender:
        broken = await sender.send(a_message("a@customer.example"))
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert broken.result == Result.TEMPORARY
    assert len(relay.connections) == 2
    assert relay.commands["MAIL"] == 2  # it may have taken the mail, so it is not sent again at once


async def test_an_unreachable_server_is_temporary_and_called_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with a_channel(f"smtp://{ENCODED_LOGIN}@127.0.0.1:{port}")() as sender:
            first = await sender.send(a_message())
            second = await sender.send(a_message())

    assert first.result == Result.TEMPORARY
    assert f"127.0.0.1 on port {port}" in (first.error or "")
    assert second is first


async def test_a_pass_does_not_wait_for_a_silent_server_again_and_again() -> None:
    connections = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5), a_channel(f"smtp://127.0.0.1:{port}", attempt_time=0.2)() as sender:
            outcomes = [await sender.send(a_message()) for _ in range(50)]
        for connection in connections:
            connection.close()

    assert {outcome.result for outcome in outcomes} == {Result.TEMPORARY}
    assert outcomes[0].error == "The mail server did not answer within 0.2 s"
    assert len(connections) == 1


async def test_a_mail_that_takes_too_long_is_given_up_and_the_next_is_not(relay: Relay) -> None:
    relay.delay = 5
    async with a_sender(relay, attempt_time=0.2) as sender:
        slow = await sender.send(a_message("a@customer.example"))
        relay.delay = 0
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert slow.result == Result.TEMPORARY
    assert relay.recipients() == ["b@customer.example"]


async def test_a_cancelled_mail_ends_its_connection(relay: Relay) -> None:
    relay.delay = 0.5
    async with a_sender(relay) as sender:
        sending = asyncio.create_task(sender.send(a_message("a@customer.example")))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        relay.delay = 0
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert len(relay.connections) == 2  # on the first, the reply to one mail would be read as another's
    assert relay.recipients() == ["b@customer.example"]


async def test_a_server_that_talks_nonsense_is_called_again(relay: Relay) -> None:
    relay.replies["MAIL"] = ["what?"]
    async with a_sender(relay) as sender:
        broken = await sender.send(a_message("a@customer.example"))
        assert await sender.send(a_message("b@customer.example")) == SENT

    assert broken.result == Result.TEMPORARY
    assert len(relay.connections) == 2


# --- encryption and passwords


async def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    async with a_relay(tls, require_starttls=True, enable_SMTPUTF8=True) as relay:
        async with a_sender(relay) as sender:
            assert await sender.send(a_message("zoë@customer.example")) == SENT

        assert relay.sessions[0].ssl is not None


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_starttls_that_is_required_checks_the_certificate(tls: ssl.SSLContext, host: str) -> None:
    async with a_relay(tls, require_starttls=True) as relay:
        async with a_channel(relay.url(host=host, query="?starttls=required"))() as sender:
            assert await sender.send(a_message()) == SENT

        assert relay.sessions[0].ssl is not None


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_an_untrusted_certificate_is_refused(tls: ssl.SSLContext, scheme: str) -> None:
    gate = Relay()
    async with a_relay(tls, implicit=scheme == "smtps", authenticator=gate.authenticate) as relay:
        query = "?starttls=required" if scheme == "smtp" else ""
        async with a_channel(relay.url(ENCODED_LOGIN, scheme=scheme, query=query))() as sender:
            outcome = await sender.send(a_message())

    assert outcome.result == Result.TEMPORARY
    assert "certificate" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert relay.mails == []


async def test_starttls_that_is_required_and_not_offered_sends_nothing() -> None:
    gate = Relay()
    async with a_relay(authenticator=gate.authenticate, auth_require_tls=False) as relay:
        channel = a_channel(relay.url(ENCODED_LOGIN, query="?starttls=required"))
        async with channel() as sender:
            outcome = await sender.send(a_message())

    assert outcome.result == Result.TEMPORARY
    assert "STARTTLS" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert relay.commands["MAIL"] == 0


@pytest.mark.usefixtures("trusted")
async def test_smtps_encrypts_from_the_start(tls: ssl.SSLContext) -> None:
    async with a_relay(tls, implicit=True) as relay, a_channel(relay.url(scheme="smtps"))() as sender:
        assert await sender.send(a_message()) == SENT


@pytest.mark.usefixtures("trusted")
async def test_user_and_password_come_from_the_url(tls: ssl.SSLContext) -> None:
    gate = Relay()
    async with a_relay(tls, authenticator=gate.authenticate, auth_required=True) as relay:
        async with a_channel(relay.url(ENCODED_LOGIN, query="?starttls=required"))() as sender:
            assert await sender.send(a_message()) == SENT

        assert relay.sessions[0].authenticated
        assert gate.commands["AUTH"] == 1


async def test_a_wrong_password_is_temporary_offered_once_and_never_repeated(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = "not/the-p@ssword"
    gate = Relay(echo_password=True)
    options: dict[str, Any] = {"auth_require_tls": False, "auth_exclude_mechanism": ["LOGIN"]}
    async with a_relay(authenticator=gate.authenticate, **options) as relay:
        with capture_logs() as logs:
            async with a_channel(relay.url("desk:not%2Fthe-p%40ssword"))() as sender:
                outcomes = [await sender.send(a_message()) for _ in range(3)]

    error = outcomes[0].error or ""
    assert {outcome.result for outcome in outcomes} == {Result.TEMPORARY}
    assert "535" in error
    assert gate.commands["AUTH"] == 1
    ours = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("mail."))
    for said in (error, repr(sender), str(logs), ours, *capfd.readouterr()):
        assert wrong not in said
        assert base64.b64encode(wrong.encode()).decode() not in said
        assert base64.b64encode(f"\0desk\0{wrong}".encode()).decode() not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.growfin.com",
        "smtp://",
        "mail.growfin.com:25",
        "smtp://desk:hunter2/x@mail.growfin.com",
        "smtp://desk:hunter2@mail.growfin.com:port",
        "smtp://desk:hunter2@[mail.growfin.com",
        "smtp://desk:hunter2\u2100@mail.growfin.com",
    ],
)
def test_a_url_that_cannot_work_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="the SMTP URL must be") as raised:
        a_channel(url)

    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("mail_from", ["Growfin", "", "Growfin <desk>", "zoë@growfin.com", "a@b.com, c@d.com"])
def test_a_sender_that_is_no_address_is_refused(mail_from: str) -> None:
    with pytest.raises(ValueError, match=r"e-mail address|non-ASCII"):
        a_channel(None, mail_from=mail_from)


# --- into files


async def test_without_a_server_each_mail_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mail"
    messages = [a_message("ann@customer.example"), a_message("zoë@customer.example")]
    async with a_channel(None, folder)() as sender:
        for message in messages:
            assert await sender.send(message) == SENT

    assert {path.name for path in files(folder)} == {f"{message.id}.eml" for message in messages}
    mail = message_from_bytes((folder / f"{messages[0].id}.eml").read_bytes(), policy=default)
    assert mail["From"] == MAIL_FROM
    assert mail["To"] == "ann@customer.example"
    assert mail["Subject"] == "Export für Zoë"
    assert mail["Message-ID"] == f"<{messages[0].id}@growfin.com>"


async def test_the_same_mail_again_replaces_its_file(tmp_path: Path) -> None:
    message = a_message()
    async with a_channel(None, tmp_path)() as sender:
        copies = (sender.send(replace(message, subject=f"Copy {n}")) for n in range(10))
        assert await asyncio.gather(*copies) == [SENT] * 10

    (path,) = files(tmp_path)
    assert message_from_bytes(path.read_bytes(), policy=default)["Subject"].startswith("Copy ")
    assert path.stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_written_to_is_temporary(tmp_path: Path) -> None:
    in_the_way = tmp_path / "mail"
    in_the_way.touch()
    async with a_channel(None, in_the_way)() as sender:
        outcome = await sender.send(a_message())

        assert outcome.result == Result.TEMPORARY
        assert "cannot be written" in (outcome.error or "")
        in_the_way.unlink()
        assert await sender.send(a_message()) == SENT


async def test_a_bad_address_makes_no_file(tmp_path: Path) -> None:
    async with a_channel(None, tmp_path)() as sender:
        outcome = await sender.send(a_message("not an address"))

    assert outcome.result == Result.PERMANENT
    assert files(tmp_path) == []
