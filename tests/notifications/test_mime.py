"""Encoded mails, read back by the standard library's parser."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.notifications.mails import OutgoingMail
from app.notifications.mime import Mailbox, encode, parse_mailbox, to_one_line

SENDER = Mailbox("Growfin Desk", "desk@growfin.com")
MAIL = OutgoingMail(
    org_id=UUID(int=1),
    id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    recipient="ann@customer.example",
    subject="Reply: Cannot export",
    text="Hello,\n\ntry again.\n",
    html="<p>Hello,</p><p>try again.</p>",
    reply_to=None,
    link=None,
    link_id=None,
    created_at=datetime(2026, 12, 21, 13, 5, tzinfo=UTC),
)
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
MAX_LINE_LENGTH = 78  # characters, RFC 5322 section 2.1.1


def encode_and_parse(message: OutgoingMail, sender: Mailbox = SENDER) -> EmailMessage:
    """Encode and parse a mail, after checking that every line ends with CRLF and that none is too long."""
    content = encode(message, sender).content
    assert not re.search(rb"[^\r]\n|\r[^\n]", content)
    assert max(len(line) for line in content.split(b"\r\n")) <= MAX_LINE_LENGTH
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    return mail


def get_body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_mail_has_the_standard_headers() -> None:
    mail = encode_and_parse(MAIL)

    assert mail.keys()[:6] == HEADERS[:6]
    assert sorted(mail.keys()) == sorted(HEADERS)
    assert mail["From"] == "Growfin Desk <desk@growfin.com>"
    assert mail["To"] == "ann@customer.example"
    assert mail["Subject"] == "Reply: Cannot export"
    assert mail["Date"].datetime == MAIL.created_at
    assert mail["Message-ID"] == "<01890a5d-ac96-774b-bcce-b302099a8057@growfin.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert get_body(mail, "plain") == MAIL.text
    assert get_body(mail, "html").strip() == MAIL.html


def test_the_mails_of_a_ticket_reply_to_one_root() -> None:
    ticket_id = UUID(int=7)
    mail = encode_and_parse(replace(MAIL, ticket_id=ticket_id))

    assert mail["In-Reply-To"] == mail["References"] == f"<ticket.{ticket_id}@growfin.com>"


@pytest.mark.parametrize(
    "name", ['Ada "Growfin" <ada@evil.example>', "山田\r\nBcc: eve@evil.example", "Growfin " * 7 + "Ltd."]
)
def test_the_sender_has_the_name_of_the_organisation_over_the_services_address(name: str) -> None:
    (sender,) = encode_and_parse(replace(MAIL, sender_name=name))["From"].addresses

    assert (sender.display_name, sender.addr_spec) == (to_one_line(name), "desk@growfin.com")


def test_a_refused_mail_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="Not sent"):
        encode(replace(MAIL, refusal="Not sent"), SENDER)


def test_a_message_without_html_is_plain_text() -> None:
    mail = encode_and_parse(replace(MAIL, html=None))

    assert mail.get_content_type() == "text/plain"
    assert get_body(mail, "plain") == MAIL.text


def test_replies_go_to_reply_to() -> None:
    mail = encode_and_parse(replace(MAIL, reply_to="Hilfe für alle <help@growfin.com>"))

    assert mail["Reply-To"].addresses[0].addr_spec == "help@growfin.com"
    assert mail["Reply-To"].addresses[0].display_name == "Hilfe für alle"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_subject_arrives_as_one_line_and_adds_no_header(subject: str) -> None:
    mail = encode_and_parse(replace(MAIL, subject=subject))

    assert sorted(mail.keys()) == sorted(HEADERS)
    assert mail["Subject"] == to_one_line(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "Hello\r\nBcc: eve@evil.example",
        "Hello\nBcc: eve@evil.example\n\nBody",
        "Hello\rBcc: eve@evil.example",
        "Hello\u2028Bcc: eve@evil.example\x85X: y\x0bZ: z\x00",
        "=?utf-8?q?Hello=0D=0ABcc:_eve@evil.example?=",
        "=?utf-8?b?SGVsbG8NCkJjYzogZXZlQGV2aWwuZXhhbXBsZQ==?= and more of it, so long that it has to be folded",
    ],
)
def test_a_subject_cannot_add_a_header(subject: str) -> None:
    mail = encode_and_parse(replace(MAIL, subject=subject))

    assert sorted(mail.keys()) == sorted(HEADERS)
    assert mail["Subject"] == to_one_line(subject)


@pytest.mark.parametrize(
    "address",
    [
        "ann@customer.example\r\nBcc: eve@evil.example",
        "ann@customer.example\nRCPT TO:<eve@evil.example>",
        "ann@customer.example, eve@evil.example",
        "ann@customer.example> SIZE=1",
        "<ann@customer.example> <eve@evil.example>",
        "Ann <ann@customer.example>",
        '"ann\\"\r\n"@customer.example',
        "ann@customer.example\x00",
        "ann",
        "ann@",
        "@customer.example",
        "ann@127.0.0.1",
        "",
        " ",
        "\udcff@customer.example",
    ],
)
def test_a_recipient_that_is_not_one_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"not an e-mail address|not a domain|is an address"):
        encode(replace(MAIL, recipient=address), SENDER)


@pytest.mark.parametrize("text", ["", "desk", "Desk <desk>", "a@growfin.com, b@growfin.com", "<a@x.com> <b@x.com>"])
def test_a_text_that_is_not_one_mailbox_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an e-mail address|not a domain|is an address"):
        parse_mailbox(text)


@pytest.mark.parametrize("reply_to", ["desk", "a@growfin.com\r\nBcc: eve@evil.example"])
def test_an_invalid_reply_to_is_refused(reply_to: str) -> None:
    with pytest.raises(ValueError, match=r"not an e-mail address|not a domain|is an address"):
        encode(replace(MAIL, reply_to=reply_to), SENDER)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("desk@growfin.com", "", "desk@growfin.com"),
        ("<desk@growfin.com>", "", "desk@growfin.com"),
        ("Tessera <tessera@localhost>", "Tessera", "tessera@localhost"),
        ('"Doe, Jane \\"JD\\"" <jane@growfin.com>', 'Doe, Jane "JD"', "jane@growfin.com"),
        ("Zoë Ångström <z@bücher.example>", "Zoë Ångström", "z@xn--bcher-kva.example"),
        ("山田 太郎 <yamada@growfin.com>", "山田 太郎", "yamada@growfin.com"),
        ("Growfin\r\nBcc: eve@evil.example <desk@growfin.com>", "Growfin Bcc: eve@evil.example", "desk@growfin.com"),
        ("=?utf-8?q?a=0D=0ABcc:_e?= <desk@growfin.com>", "=?utf-8?q?a=0D=0ABcc:_e?=", "desk@growfin.com"),
        ("O'Neil & Co. (Berlin) <desk@growfin.com>", "O'Neil & Co. (Berlin)", "desk@growfin.com"),
    ],
)
def test_names_and_addresses_arrive_unchanged(text: str, name: str, address: str) -> None:
    sender = parse_mailbox(text)
    mail = encode_and_parse(MAIL, sender)

    assert sender == Mailbox(name, address)
    assert [(each.display_name, each.addr_spec) for each in mail["From"].addresses] == [(name, address)]
    assert sorted(mail.keys()) == sorted(HEADERS)


def test_a_long_name_is_folded() -> None:
    name = ("山田 太郎 " * 20).strip()
    address = "taro.yamada.of.the.support.desk.in.tokyo@growfin.com"
    mail = message_from_bytes(encode(MAIL, Mailbox(name, address)).content)

    assert str(make_header(decode_header(mail["From"]))) == f"{name} <{address}>"
    assert max(len(line) for line in f"From: {mail['From']}".splitlines()) <= MAX_LINE_LENGTH


def test_a_long_subject_is_folded() -> None:
    assert encode_and_parse(replace(MAIL, subject="x" * 255))["Subject"] == "x" * 255


def test_only_a_non_ascii_local_part_needs_utf8() -> None:
    assert encode(replace(MAIL, recipient="zoë@customer.example"), SENDER).utf8
    assert encode(replace(MAIL, reply_to="zoë@customer.example"), SENDER).utf8
    assert not encode(replace(MAIL, recipient="z@bücher.example", subject="Zoë", text="Zoë"), SENDER).utf8


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5000 + "\n",
        "Grüße\n",
        "日本語のとても長い文章です。" * 300 + "\n",
        "Grüße an alle, " * 300 + "\n",
        ".\n..\nFrom here\n--\n-- \n=3D trailing spaces   \n\ttab\n",
        "",
    ],
)
def test_any_text_arrives_unchanged(text: str) -> None:
    message = replace(MAIL, text=text, html=text and f"<p>{text}</p>\n")
    mail = encode_and_parse(message)

    assert encode(message, SENDER).content.isascii()  # not every server takes 8 bits
    assert get_body(mail, "plain") == (text or "\n")
    assert get_body(mail, "html").strip() == (text and f"<p>{text}</p>")


def test_a_text_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode(replace(MAIL, text="\ud800"), SENDER)
