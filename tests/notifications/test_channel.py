"""The EMAIL channel, against real SMTP servers on loopback and real files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from app.core.outbox.channels import Result
from tests.notifications.scripted_smtp_server import (
    MAIL_FROM,
    SENT,
    ScriptedSmtpServer,
    make_channel,
    make_message,
    open_sender,
    running_scripted_server,
)

if TYPE_CHECKING:
    from pathlib import Path


# --- over SMTP


async def test_a_mail_arrives(smtp_server: ScriptedSmtpServer) -> None:
    message = make_message(reply_to="help@growfin.com")
    async with open_sender(smtp_server) as sender:
        assert await sender.send(message) == SENT

    (envelope,) = smtp_server.mails
    assert envelope.mail_from == "desk@growfin.com"
    assert envelope.rcpt_tos == ["ann@customer.example"]
    mail = message_from_bytes(cast("bytes", envelope.content), policy=default)
    assert mail["Subject"] == "Export für Zoë"
    assert mail["Message-ID"] == f"<{message.id}@growfin.com>"
    assert mail["Reply-To"] == "help@growfin.com"
    assert [part.get_content().strip() for part in mail.iter_parts()] == ["Hello Zoë", "<p>Hello Zoë</p>"]


async def test_one_connection_serves_a_pass_and_ends_with_quit(smtp_server: ScriptedSmtpServer) -> None:
    recipients = [f"user{n}@customer.example" for n in range(20)]
    async with open_sender(smtp_server) as sender:
        outcomes = [await sender.send(make_message(recipient)) for recipient in recipients]

    assert outcomes == [SENT] * 20
    assert smtp_server.recipients() == recipients
    assert len(smtp_server.connections) == 1
    assert smtp_server.commands["QUIT"] == 1


async def test_a_pass_without_mail_connects_to_nothing(smtp_server: ScriptedSmtpServer) -> None:
    async with open_sender(smtp_server):
        pass

    assert smtp_server.connections == []


async def test_mails_at_the_same_time_have_connections_of_their_own_which_are_used_again(
    smtp_server: ScriptedSmtpServer,
) -> None:
    smtp_server.delay = 0.05
    async with open_sender(smtp_server) as sender:
        for _ in range(3):
            outcomes = await asyncio.gather(*(sender.send(make_message(f"user{n}@customer.example")) for n in range(4)))
            assert outcomes == [SENT] * 4

    assert smtp_server.recipients().count("user0@customer.example") == 3
    assert len(smtp_server.connections) == 4
    assert smtp_server.commands["QUIT"] == 4


async def test_a_text_that_looks_like_smtp_arrives_unchanged(smtp_server: ScriptedSmtpServer) -> None:
    text = "Hello\r\n.\r\nMAIL FROM:<eve@evil.example>\n.\nQUIT\n.start\n..\n"
    async with open_sender(smtp_server) as sender:
        assert await sender.send(make_message(text=text, html=None)) == SENT
        assert await sender.send(make_message()) == SENT

    assert [envelope.mail_from for envelope in smtp_server.mails] == ["desk@growfin.com"] * 2
    mail = message_from_bytes(cast("bytes", smtp_server.mails[0].content), policy=default)
    assert mail.get_content().splitlines() == text.splitlines()


@pytest.mark.parametrize("mail_from", ["Growfin", "", "Growfin <desk>", "zoë@growfin.com", "a@b.com, c@d.com"])
def test_an_invalid_sender_address_is_refused(mail_from: str) -> None:
    with pytest.raises(ValueError, match=r"e-mail address|non-ASCII"):
        make_channel(None, mail_from=mail_from)


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
async def test_a_refusal_concerns_one_mail(
    smtp_server: ScriptedSmtpServer, where: str, reply: str, result: Result
) -> None:
    smtp_server.replies[where] = [reply]
    async with open_sender(smtp_server) as sender:
        refused = await sender.send(make_message())
        accepted = await sender.send(make_message("bob@customer.example"))

    assert refused.result == result
    assert reply in (refused.error or "")
    assert accepted == SENT
    assert smtp_server.recipients() == ["bob@customer.example"]
    assert len(smtp_server.connections) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "not an address"},
        {"recipient": "ann@customer.example\r\nRCPT TO:<eve@evil.example>"},
        {"reply_to": "help@growfin.com\nBcc: eve@evil.example"},
        {"text": "\ud800"},
    ],
)
async def test_an_invalid_mail_fails_without_affecting_others(
    smtp_server: ScriptedSmtpServer, changes: dict[str, str]
) -> None:
    async with open_sender(smtp_server) as sender:
        failed = await sender.send(make_message(**changes))
        assert await sender.send(make_message("bob@customer.example")) == SENT

    assert failed.result == Result.PERMANENT
    assert failed.error
    assert "\n" not in failed.error
    assert smtp_server.recipients() == ["bob@customer.example"]


async def test_a_non_ascii_address_is_sent_to_a_server_that_supports_it(smtp_server: ScriptedSmtpServer) -> None:
    async with open_sender(smtp_server) as sender:
        assert await sender.send(make_message("zoë@bücher.example")) == SENT

    assert smtp_server.recipients() == ["zoë@xn--bcher-kva.example"]
    assert "SMTPUTF8" in smtp_server.mails[0].mail_options


async def test_a_non_ascii_address_fails_on_a_server_that_does_not_support_it() -> None:
    async with running_scripted_server() as smtp_server, open_sender(smtp_server) as sender:
        failed = await sender.send(make_message("zoë@customer.example"))
        assert await sender.send(make_message("z@bücher.example")) == SENT

        assert failed.result == Result.PERMANENT
        assert failed.error == (
            "The mail server does not support this mail: an address has non-ASCII characters before the @ sign"
        )
        assert smtp_server.recipients() == ["z@xn--bcher-kva.example"]


async def test_a_reply_of_any_bytes_can_be_stored() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no\x00 \xff\xfe\x1b[31m" + b"x" * 2000 + b"\r\n")
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with make_channel(f"smtp://127.0.0.1:{port}").open() as sender:
            outcome = await sender.send(make_message())

    assert outcome.result == Result.TEMPORARY
    assert (outcome.error or "").isprintable()
    assert (outcome.error or "").encode()
    assert len(outcome.error or "") == 300


async def test_an_unexpected_exception_is_a_temporary_outcome(smtp_server: ScriptedSmtpServer) -> None:
    with capture_logs() as logs:
        async with open_sender(smtp_server) as sender:
            outcome = await sender.send(make_message(created_at="yesterday"))

    assert outcome.result == Result.TEMPORARY
    assert [(log["event"], log["error"]) for log in logs] == [("mail_not_sent", "AttributeError")]
    assert "mime.py" in logs[0]["where"]


# --- into files


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_without_a_server_each_mail_is_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mail"
    messages = [make_message("ann@customer.example"), make_message("zoë@customer.example")]
    async with make_channel(None, folder).open() as sender:
        for message in messages:
            assert await sender.send(message) == SENT

    assert {path.name for path in files(folder)} == {f"{message.id}.eml" for message in messages}
    mail = message_from_bytes((folder / f"{messages[0].id}.eml").read_bytes(), policy=default)
    assert mail["From"] == MAIL_FROM
    assert mail["To"] == "ann@customer.example"
    assert mail["Subject"] == "Export für Zoë"
    assert mail["Message-ID"] == f"<{messages[0].id}@growfin.com>"


async def test_a_mail_that_is_sent_again_replaces_its_file(tmp_path: Path) -> None:
    message = make_message()
    async with make_channel(None, tmp_path).open() as sender:
        copies = (sender.send(replace(message, subject=f"Copy {n}")) for n in range(10))
        assert await asyncio.gather(*copies) == [SENT] * 10

    (path,) = files(tmp_path)
    assert message_from_bytes(path.read_bytes(), policy=default)["Subject"].startswith("Copy ")
    assert path.stat().st_mode & 0o077 == 0


async def test_an_unwritable_folder_is_a_temporary_failure(tmp_path: Path) -> None:
    in_the_way = tmp_path / "mail"
    in_the_way.touch()
    async with make_channel(None, in_the_way).open() as sender:
        outcome = await sender.send(make_message())

        assert outcome.result == Result.TEMPORARY
        assert "cannot be written" in (outcome.error or "")
        in_the_way.unlink()
        assert await sender.send(make_message()) == SENT


async def test_a_bad_address_makes_no_file(tmp_path: Path) -> None:
    async with make_channel(None, tmp_path).open() as sender:
        outcome = await sender.send(make_message("not an address"))

    assert outcome.result == Result.PERMANENT
    assert files(tmp_path) == []
