"""Encode mails for SMTP (RFC 5322, MIME).

This module writes the header section itself. The standard library's header classes decode text that looks like an
encoded word (RFC 2047, such as `=?utf-8?q?...?=`), and write its newlines unencoded: a ticket titled
`=?utf-8?q?=0D=0ABcc:...?=` would add a header. The standard library writes the body, where newlines do no harm.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass, replace
from datetime import UTC
from email.header import Header
from email.utils import format_datetime
from typing import TYPE_CHECKING

from app.core.email_addresses import has_odd_dots, normalise_domain, normalise_requester_email

if TYPE_CHECKING:
    from uuid import UUID

    from app.notifications.mails import OutgoingMail

_MAX_PLAIN_HEADER_LENGTH = 60  # characters; a longer text is encoded, so that it can be folded anywhere
_MAX_MAILBOX_LENGTH = 60  # characters of name and address that fit in one line with the name of the header
_NOT_PRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_MAILBOX = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]*", re.ASCII)


@dataclass(frozen=True)
class Mailbox:
    """A name, which may be empty, and an address.

    The domain is in its ASCII form. The local part may have non-ASCII characters.
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """The part after the @ sign."""
        return self.address.rpartition("@")[2]

    def __str__(self) -> str:
        """Write the mailbox for a header: ASCII except for the local part (RFC 6532)."""
        if not self.name:
            return self.address
        if _needs_encoding(self.name):
            return f"{_encode_words(self.name)}\r\n <{self.address}>"
        quoted = re.sub(r'(["\\])', r"\\\1", self.name)
        name = self.name if _ATOMS.fullmatch(self.name) else f'"{quoted}"'
        fold = "\r\n" if len(name) + len(self.address) > _MAX_MAILBOX_LENGTH else ""
        return f"{name}{fold} <{self.address}>"


@dataclass(frozen=True, kw_only=True)
class EncodedMail:
    """A mail and its envelope. `utf8`: an address requires a server that supports SMTPUTF8 (RFC 6531)."""

    id: UUID  # of the delivery
    sender: str
    recipient: str
    content: bytes
    utf8: bool


def to_one_line(text: str) -> str:
    """Replace each run of whitespace, control characters and lone surrogates by one space."""
    return _NOT_PRINTABLE.sub(" ", text).strip()


def parse_mailbox(text: str) -> Mailbox:
    """Parse `address`, `<address>` or `Name <address>`. The name may be quoted.

    Raises:
        ValueError: the text is not a mailbox.
    """
    match = _MAILBOX.fullmatch(text.strip())
    name, address = (match["name"].strip(), match["address"]) if match else ("", text.strip())
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return Mailbox(to_one_line(name), _normalise_address(address))


def _normalise_address(text: str) -> str:
    local, _, domain = normalise_requester_email(text).rpartition("@")
    written = f'"{local}"' if has_odd_dots(local) else local
    return f"{written}@{normalise_domain(domain)}"


def encode(mail: OutgoingMail, sender: Mailbox) -> EncodedMail:
    """Encode a mail. Its Message-ID is the delivery's id, so that a receiver sees all attempts as one mail.

    All mails about a ticket refer to one Message-ID, as if they replied to it. With their equal subjects, this makes
    mail programs show them as a thread. No mail has this Message-ID itself, since each recipient gets other mails.

    Args:
        sender: its address sends all mails; its name only those that have no `sender_name`.

    Raises:
        ValueError: the mail has a `refusal`, the recipient or the Reply-To is not an address, or a text cannot be
            encoded.
    """
    if mail.refusal is not None:
        raise ValueError(mail.refusal)
    recipient = _normalise_address(mail.recipient)
    reply_to = parse_mailbox(mail.reply_to) if mail.reply_to else None
    headers = {
        "From": str(_name_sender(sender, mail.sender_name)),
        "To": recipient,
        "Subject": _encode_unstructured(to_one_line(mail.subject)),
        "Date": format_datetime(mail.created_at.astimezone(UTC)),
        "Message-ID": f"<{mail.id}@{sender.domain}>",
        "Auto-Submitted": "auto-generated",  # RFC 3834: asks for no automatic reply
    }
    if mail.ticket_id:
        headers["In-Reply-To"] = headers["References"] = f"<ticket.{mail.ticket_id}@{sender.domain}>"
    if reply_to:
        headers["Reply-To"] = str(reply_to)
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    return EncodedMail(
        id=mail.id,
        sender=sender.address,
        recipient=recipient,
        content=head + _encode_body(mail),
        utf8=not head.isascii(),
    )


def _name_sender(sender: Mailbox, name: str | None) -> Mailbox:
    return replace(sender, name=to_one_line(name)) if name else sender


def _encode_body(mail: OutgoingMail) -> bytes:
    """Encode the MIME headers and the content: plain text, with HTML as the preferred alternative (RFC 2046).

    The standard library's generator takes a hundred times as long, more than everything else that a mail costs.
    """
    if mail.html is None:
        return b"MIME-Version: 1.0\r\n" + _encode_part("plain", mail.text)
    # No quoted-printable text contains "=_" (RFC 2045, 6.7).
    boundary = f"=_{mail.id.hex}"
    head = f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode()
    line = f"--{boundary}".encode()
    parts = (_encode_part("plain", mail.text), _encode_part("html", mail.html))
    return head + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"


def _encode_part(subtype: str, text: str) -> bytes:
    """Encode a text with its headers as quoted-printable, in lines of at most 76 characters."""
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    unified = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"
    return head.encode() + binascii.b2a_qp(unified.encode(), istext=True).replace(b"\n", b"\r\n")


def _needs_encoding(text: str) -> bool:
    return not text.isascii() or "=?" in text or len(text) > _MAX_PLAIN_HEADER_LENGTH


def _encode_unstructured(text: str) -> str:
    return _encode_words(text) if _needs_encoding(text) else text


def _encode_words(text: str) -> str:
    """Encode the text as encoded words (RFC 2047), one per line."""
    return Header(text, "utf-8", maxlinelen=64).encode(linesep="\r\n")
