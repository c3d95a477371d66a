"""The EMAIL channel: over SMTP, or into files while there is no mail server."""

from __future__ import annotations

import asyncio
import os
import tempfile
import traceback
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from app.core.outbox.deliveries import Channel, Message, Outcome, Result, Sender
from app.notifications import smtp
from app.notifications.mime import Mail, Mailbox, compose, mailbox, one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ATTEMPT_TIME = 30.0  # seconds

log = structlog.get_logger("tessera.mail")


def _as_it_is(message: Message) -> Message:
    return message


def email_channel(
    *,
    smtp_url: str | None,
    mail_from: str,
    mail_dir: Path,
    complete: Callable[[Message], Message] = _as_it_is,
    attempt_time: float = ATTEMPT_TIME,
) -> Channel:
    """The opener of a sender of mail: to the server of `smtp_url`, or into `mail_dir` where that is `None`.

    `smtps://user:password@host:465` encrypts from the start (RFC 8314) and `smtp://…:25?starttls=required` with
    STARTTLS (RFC 3207); both verify the certificate, against the system's authorities or `SSL_CERT_FILE`. Plain
    `smtp://` encrypts where the server offers it and then verifies nothing: encryption without authentication is better
    than none, which would be the alternative (RFC 7435). So a password belongs with one of the first two. User and
    password are percent-encoded; the ports given here are the defaults. `attempt_time` is in seconds, for everything
    that one mail takes, connecting included. `complete` fills in what a stored message does not hold.

    Raises:
        ValueError: `smtp_url` is not an SMTP URL, or `mail_from` is no address with an ASCII local part.
    """
    sender = mailbox(mail_from)
    if not sender.address.isascii():
        raise ValueError(f"mail cannot be sent from {sender.address}: not every server takes non-ASCII addresses")
    server = smtp.Server.at(smtp_url) if smtp_url is not None else None

    @asynccontextmanager
    async def open_channel() -> AsyncIterator[Sender]:
        if server is None:
            yield _MailSender(sender, complete, partial(_write, mail_dir))
        else:
            async with smtp.connection(server, attempt_time) as connection:
                yield _MailSender(sender, complete, connection.hand_over)

    return open_channel


@dataclass(frozen=True)
class _MailSender:
    """Composes each mail and hands it over; whatever goes wrong with one must not stop the others."""

    sender: Mailbox
    complete: Callable[[Message], Message]
    hand_over: Callable[[Mail], Awaitable[Outcome]]

    async def send(self, message: Message) -> Outcome:
        try:
            return await self._attempt(message)
        except Exception as error:  # noqa: BLE001 - a sender raises nothing
            # A defect of ours, to be found; without its text and variables, which may be a tenant's or hold a password.
            kind, where = type(error).__name__, str(traceback.extract_tb(error.__traceback__)[-1])
            log.error("mail_not_sent", delivery_id=str(message.id), error=kind, where=where)  # noqa: TRY400
            return Outcome(Result.TEMPORARY, f"The mail cannot be sent ({kind})")

    async def _attempt(self, message: Message) -> Outcome:
        try:
            mail = compose(self.complete(message), self.sender)
        except ValueError as error:
            return Outcome(Result.PERMANENT, one_line(str(error)))
        return await self.hand_over(mail)


async def _write(folder: Path, mail: Mail) -> Outcome:
    """Write the mail to `<folder>/<delivery id>.eml`; the same mail sent again replaces its file."""
    try:
        await asyncio.to_thread(_write_whole, folder, f"{mail.id}.eml", mail.content)
    except OSError as error:
        return Outcome(Result.TEMPORARY, f"The mail cannot be written: {error.strerror}")
    return Outcome(Result.SENT)


def _write_whole(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A reader sees the whole mail or none: it is written aside (readable by its owner only) and then renamed.
    handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(path).replace(folder / name)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
