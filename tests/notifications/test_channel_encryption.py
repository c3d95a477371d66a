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
from tests.notifications.smtp_relay import ENCODED_LOGIN, SENT, Relay, a_channel, a_message, a_relay, a_sender

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


async def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    async with a_relay(tls, require_starttls=True, enable_SMTPUTF8=True) as relay:
        async with a_sender(relay) as sender:
            assert await sender.send(a_message("zoë@customer.example")) == SENT

        assert relay.sessions[0].ssl is not None


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_starttls_that_is_required_checks_the_certificate(tls: ssl.SSLContext, host: str) -> None:
    async with a_relay(tls, require_starttls=True) as relay:
        async with a_channel(relay.url(host=host, query="?starttls=required")).open() as sender:
            assert await sender.send(a_message()) == SENT

        assert relay.sessions[0].ssl is not None


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_an_untrusted_certificate_is_refused(tls: ssl.SSLContext, scheme: str) -> None:
    gate = Relay()
    async with a_relay(tls, implicit=scheme == "smtps", authenticator=gate.authenticate) as relay:
        query = "?starttls=required" if scheme == "smtp" else ""
        async with a_channel(relay.url(ENCODED_LOGIN, scheme=scheme, query=query)).open() as sender:
            outcome = await sender.send(a_message())

    assert outcome.result == Result.TEMPORARY
    assert "certificate" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert relay.mails == []


async def test_starttls_that_is_required_and_not_offered_sends_nothing() -> None:
    gate = Relay()
    async with a_relay(authenticator=gate.authenticate, auth_require_tls=False) as relay:
        channel = a_channel(relay.url(ENCODED_LOGIN, query="?starttls=required"))
        async with channel.open() as sender:
            outcome = await sender.send(a_message())

    assert outcome.result == Result.TEMPORARY
    assert "STARTTLS" in (outcome.error or "")
    assert gate.commands["AUTH"] == 0
    assert relay.commands["MAIL"] == 0


@pytest.mark.usefixtures("trusted")
async def test_smtps_encrypts_from_the_start(tls: ssl.SSLContext) -> None:
    async with a_relay(tls, implicit=True) as relay, a_channel(relay.url(scheme="smtps")).open() as sender:
        assert await sender.send(a_message()) == SENT


@pytest.mark.usefixtures("trusted")
async def test_user_and_password_come_from_the_url(tls: ssl.SSLContext) -> None:
    gate = Relay()
    async with a_relay(tls, authenticator=gate.authenticate, auth_required=True) as relay:
        async with a_channel(relay.url(ENCODED_LOGIN, query="?starttls=required")).open() as sender:
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
            async with a_channel(relay.url("desk:not%2Fthe-p%40ssword")).open() as sender:
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
