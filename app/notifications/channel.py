"""The EMAIL channel: over SMTP, or into files if no mail server is configured."""

from __future__ import annotations

import asyncio
import os
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.channels import Channel, ChannelPolicy, Outcome, Result, Sender
from app.notifications import mails, smtp
from app.notifications.mails import EMAIL, OutgoingMail
from app.notifications.mime import EncodedMail, Mailbox, encode, parse_mailbox, to_one_line
from app.notifications.smtp_connections import open_connections

ATTEMPT_TIMEOUT = 30.0  # seconds
DEFAULT_CONNECTIONS = 4

log = structlog.get_logger("tessera.mail")


def _return_unchanged(mail: OutgoingMail) -> OutgoingMail:
    return mail


def make_email_channel(
    *,
    smtp_url: str | None,
    mail_from: str,
    mail_dir: Path,
    complete: Callable[[OutgoingMail], OutgoingMail] = _return_unchanged,
    connections: int = DEFAULT_CONNECTIONS,
    attempt_timeout: float = ATTEMPT_TIMEOUT,
) -> Channel[OutgoingMail]:
    """Make the channel that sends mail to the server of `smtp_url`; if that is `None`, it writes mail into `mail_dir`.

    `smtps://user:password@host:465` encrypts from the start (RFC 8314), and `smtp://…:25?starttls=required` with
    STARTTLS (RFC 3207). Both verify the certificate, against the system's authorities or `SSL_CERT_FILE`. Plain
    `smtp://` encrypts if the server offers it, but does not verify the certificate: the alternative would be no
    encryption at all (RFC 7435). Therefore use a password only with one of the first two. User and password are
    percent-encoded. These ports are the defaults.

    Args:
        mail_from: the sender, as `address` or `Name <address>`.
        complete: a function that fills in the parts of a mail that are not stored, such as the token of its link.
        connections: the number of mails, and therefore of connections, at the same time. See `ChannelPolicy`.
        attempt_timeout: seconds for everything that one mail takes, including the connection.

    Raises:
        ValueError: `smtp_url` is not an SMTP URL, or `mail_from` is not an address with an ASCII local part.
    """
    sender = parse_mailbox(mail_from)
    if not sender.address.isascii():
        raise ValueError(f"mail cannot be sent from {sender.address}: not every server takes non-ASCII addresses")
    server = smtp.Server.from_url(smtp_url) if smtp_url is not None else None
    policy = replace(EMAIL, max_in_flight=connections, max_in_flight_per_lane=connections)
    return _EmailChannel(policy, sender, complete, server, mail_dir, attempt_timeout)


@dataclass(frozen=True)
class _EmailChannel:
    policy: ChannelPolicy
    sender: Mailbox
    complete: Callable[[OutgoingMail], OutgoingMail]
    server: smtp.Server | None
    mail_dir: Path
    attempt_timeout: float

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, OutgoingMail]:
        return await mails.load(db, org_id, ids)

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        await mails.delete_mails(db, org_id, ids)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Sender[OutgoingMail]]:
        if self.server is None:
            yield _MailSender(self.sender, self.complete, partial(_write, self.mail_dir))
        else:
            async with open_connections(self.server, self.attempt_timeout) as connections:
                yield _MailSender(self.sender, self.complete, connections.hand_over)


@dataclass(frozen=True)
class _MailSender:
    """Encode each mail and hand it over. A mail that fails must not stop the others."""

    sender: Mailbox
    complete: Callable[[OutgoingMail], OutgoingMail]
    hand_over: Callable[[EncodedMail], Awaitable[Outcome]]

    async def send(self, message: OutgoingMail) -> Outcome:
        try:
            return await self._attempt(message)
        except Exception as error:  # noqa: BLE001 - a sender raises nothing
            # A bug. It is logged without message and variables, which may contain a tenant's data or a password.
            kind, where = type(error).__name__, str(traceback.extract_tb(error.__traceback__)[-1])
            log.error("mail_not_sent", delivery_id=str(message.id), error=kind, where=where)  # noqa: TRY400
            return Outcome(Result.TEMPORARY, f"The mail cannot be sent ({kind})")

    async def _attempt(self, message: OutgoingMail) -> Outcome:
        try:
            mail = encode(self.complete(message), self.sender)
        except ValueError as error:
            return Outcome(Result.PERMANENT, to_one_line(str(error)))
        return await self.hand_over(mail)


async def _write(folder: Path, mail: EncodedMail) -> Outcome:
    """Write the mail to `<folder>/<delivery id>.eml`. The same mail sent again replaces its file."""
    try:
        await asyncio.to_thread(_write_atomically, folder, f"{mail.id}.eml", mail.content)
    except OSError as error:
        return Outcome(Result.TEMPORARY, f"The mail cannot be written: {error.strerror}")
    return Outcome(Result.SENT)


def _write_atomically(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A reader sees the whole mail or none: it is written to another name (readable by its owner only) and renamed.
    handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(path).replace(folder / name)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
