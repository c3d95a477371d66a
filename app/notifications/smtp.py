"""Mail over SMTP (RFC 5321): the server, and the commands that hand over a mail.

One rule classifies failures: a delivery fails permanently only if the server refused that mail. A problem of this
service or of the server (unreachable, an untrusted certificate, a wrong password, a sender it does not accept) concerns
all mails alike and will be repaired. It is temporary, even if the reply is a 5xx.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from app.core.outbox.channels import Outcome, Result
from app.notifications.mime import EncodedMail, to_one_line

MAX_ERROR_LENGTH = 300  # characters

FIRST_REFUSAL = 400
FIRST_PERMANENT_REFUSAL = 500
SERVER_IS_CLOSING = 421
# Replies to any command that mean "authenticate" or "encrypt" (RFC 4954 section 6, RFC 3207 section 4).
AUTHENTICATION_REPLIES = frozenset({530, 534, 535, 538})
MAIL_TOO_LARGE = 552  # the only refusal of the command MAIL that concerns the mail and not the sender (RFC 1870)


@dataclass(frozen=True, kw_only=True)
class Server:
    """The address, credentials and encryption of a mail server. It keeps no connection."""

    host: str
    port: int
    user: str | None
    password: str = field(repr=False)
    implicit_tls: bool
    start_tls: bool | None  # required (True), not used (False), or used if the server offers it (None)
    tls: ssl.SSLContext = field(repr=False)

    @classmethod
    def from_url(cls, url: str) -> Server:
        """Parse the URL of a server (see `make_email_channel`).

        Raises:
            ValueError: the URL is invalid. The message does not repeat it, since it may contain a password.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in {"smtp", "smtps"}:
            raise ValueError("the SMTP URL must be smtp://user:password@host:port or smtps://…") from None
        implicit = parts.scheme == "smtps"
        required = parse_qs(parts.query).get("starttls") == ["required"]
        return cls(
            host=host,
            port=port or (465 if implicit else 25),
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password or ""),
            implicit_tls=implicit,
            start_tls=False if implicit else (required or None),
            tls=_tls_context(verify=implicit or required),
        )

    async def connect(self, timeout: float) -> SMTP:  # noqa: ASYNC109 - of each read; the caller limits the whole
        """Connect, encrypt and authenticate as the URL requires."""
        client = SMTP(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password if self.user else None,
            local_hostname=await asyncio.to_thread(_host_name),
            timeout=timeout,
            use_tls=self.implicit_tls,
            start_tls=self.start_tls,
            tls_context=self.tls,
        )
        await client.connect()
        return client

    def describe_failure(self, error: SMTPException | OSError, seconds: float, *, is_connected: bool) -> Outcome:
        """Return the outcome of a mail that failed, either after the connection was made or before.

        Args:
            seconds: the time that the mail had.
        """
        match error:
            case SMTPResponseException():
                text = f"The mail server replied {error.code} {error.message}"
            case TimeoutError():
                text = f"The mail server did not reply within {seconds:g} s"
            case SMTPNotSupported() if is_connected:
                text = f"The mail server does not support this mail: {error}"
            case _:
                text = f"The mail server cannot be used: {error}"
        # A failure before the command MAIL cannot concern the mail.
        is_permanent = is_connected and _concerns_the_mail(error)
        return Outcome(
            Result.PERMANENT if is_permanent else Result.TEMPORARY,
            to_one_line(self.mask_secrets(text))[:MAX_ERROR_LENGTH],
        )

    def mask_secrets(self, text: str) -> str:
        """Mask the password in a reply. A server may repeat it in plain text, or in base64 (AUTH PLAIN, RFC 4616)."""
        secrets = (f"\0{self.user}\0{self.password}", self.password) if self.password else ()
        for secret in secrets:
            text = text.replace(base64.b64encode(secret.encode()).decode(), "***").replace(secret, "***")
        return text


async def announce(client: SMTP, mail: EncodedMail) -> None:
    """Send the command MAIL. It has no effect by itself, so it may be sent again on another connection.

    Raises:
        SMTPServerDisconnected: the server has closed the connection, or is closing it.
    """
    if client.is_ehlo_or_helo_needed:  # after STARTTLS, the list of extensions must be requested again
        await client.ehlo()
    options = [f"SIZE={len(mail.content)}"] if client.supports_extension("size") else []
    if mail.utf8:
        if not client.supports_extension("smtputf8"):
            raise SMTPNotSupported("an address has non-ASCII characters before the @ sign")
        options.append("SMTPUTF8")
    try:
        await client.mail(mail.sender, options=options)
    except SMTPSenderRefused as error:
        if error.code == SERVER_IS_CLOSING:
            raise SMTPServerDisconnected(f"{error.code} {error.message}") from error
        raise


async def transfer(client: SMTP, mail: EncodedMail) -> None:
    """Send an announced mail."""
    try:
        await client.rcpt(mail.recipient, encoding="utf-8")
        await client.data(mail.content)
    except SMTPResponseException:
        with suppress(SMTPException):
            await client.rset()  # otherwise the next mail would be part of this one
        raise


def _concerns_the_mail(error: Exception) -> bool:
    match error:
        case SMTPNotSupported():
            return True
        case SMTPSenderRefused():
            return error.code == MAIL_TOO_LARGE
        case SMTPRecipientRefused() | SMTPDataError():
            return error.code >= FIRST_PERMANENT_REFUSAL and error.code not in AUTHENTICATION_REPLIES
        case _:
            return False


def _tls_context(*, verify: bool) -> ssl.SSLContext:
    """Make the TLS context of a server. Loading the system's authorities takes some 25 ms, so make it once."""
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _host_name() -> str:
    """Return the name for EHLO: this host's full name, or an address if it has none (RFC 5321 section 4.1.4)."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
