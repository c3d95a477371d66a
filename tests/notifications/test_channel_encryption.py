"""The EMAIL channel's certificates, users and passwords, against real SMTP servers on loopback."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from structlog.testing import capture_logs

from app.core.outbox.channels import Result
from tests.notifications.scripted_smtp_server import (
    ENCODED_LOGIN,
    SENT,
    ScriptedSmtpServer,
    make_channel,
    make_message,
    open_sender,
    running_scripted_server,
)

if TYPE_CHECKING:
    from pathlib import Path


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


async def test_starttls_is_used_if_the_server_offers_it(tls: ssl.SSLContext) -> None:
    async with running_scripted_server(tls, require_starttls=True, enable_SMTPUTF8=True) as smtp_server:
        async with open_sender(smtp_server) as sender:
            assert await sender.send(make_message("zoë@customer.example")) == SENT

        assert smtp_server.sessions[0].ssl is not None


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_required_starttls_verifies_the_certificate(tls: ssl.SSLContext, host: str) -> None:
    async with running_scripted_server(tls, require_starttls=True) as smtp_server:
        async with make_channel(smtp_server.url(host=host, query="?starttls=required")).open() as sender:
            assert await sender.send(make_message()) == SENT

        assert smtp_server.sessions[0].ssl is not None


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_an_untrusted_certificate_is_refused(tls: ssl.SSLContext, scheme: str) -> None:
    gate = ScriptedSmtpServer()
    async with running_scripted_server(tls, implicit=scheme == "smtps", authenticator=gate.authenticate) as smtp_server:
        query = "?starttls=required" if scheme == "smtp" else ""
        async with make_channel(smtp_server.url(ENCODED_LOGIN, scheme=scheme, query=query)).open() as sender:
            outcome = await sender.send(make_message())

    assert outcome.result == Result.TEMPORARY
    assert "certificate" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert smtp_server.mails == []


async def test_nothing_is_sent_if_starttls_is_required_and_not_offered() -> None:
    gate = ScriptedSmtpServer()
    async with running_scripted_server(authenticator=gate.authenticate, auth_require_tls=False) as smtp_server:
        channel = make_channel(smtp_server.url(ENCODED_LOGIN, query="?starttls=required"))
        async with channel.open() as sender:
            outcome = await sender.send(make_message())

    assert outcome.result == Result.TEMPORARY
    assert "STARTTLS" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert smtp_server.commands["MAIL"] == 0


@pytest.mark.usefixtures("trusted")
async def test_smtps_encrypts_from_the_start(tls: ssl.SSLContext) -> None:
    async with (
        running_scripted_server(tls, implicit=True) as smtp_server,
        make_channel(smtp_server.url(scheme="smtps")).open() as sender,
    ):
        assert await sender.send(make_message()) == SENT


@pytest.mark.usefixtures("trusted")
async def test_user_and_password_come_from_the_url(tls: ssl.SSLContext) -> None:
    gate = ScriptedSmtpServer()
    async with running_scripted_server(tls, authenticator=gate.authenticate, auth_required=True) as smtp_server:
        async with make_channel(smtp_server.url(ENCODED_LOGIN, query="?starttls=required")).open() as sender:
            assert await sender.send(make_message()) == SENT

        assert smtp_server.sessions[0].authenticated
        assert gate.commands["AUTH"] == 1


async def test_a_wrong_password_is_a_temporary_failure_sent_once_and_never_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = "not/the-p@ssword"
    gate = ScriptedSmtpServer(echo_password=True)
    options: dict[str, Any] = {"auth_require_tls": False, "auth_exclude_mechanism": ["LOGIN"]}
    async with running_scripted_server(authenticator=gate.authenticate, **options) as smtp_server:
        with capture_logs() as logs:
            async with make_channel(smtp_server.url("desk:not%2Fthe-p%40ssword")).open() as sender:
                outcomes = [await sender.send(make_message()) for _ in range(3)]

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
def test_an_invalid_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="the SMTP URL must be") as raised:
        make_channel(url)

    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__
