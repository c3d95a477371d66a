"""The EMAIL channel when its mail server closes the connection, is silent, or is unreachable."""

from __future__ import annotations

import asyncio
import socket

import pytest

from app.core.outbox.channels import Result
from app.notifications.smtp import Server
from app.notifications.smtp_connections import Connections
from tests.databases import eventually
from tests.notifications.scripted_smtp_server import (
    ENCODED_LOGIN,
    SENT,
    ScriptedSmtpServer,
    make_channel,
    make_message,
    open_sender,
    running_scripted_server,
)


@pytest.mark.parametrize("close_was_received", [True, False])
async def test_a_connection_closed_between_mails_is_opened_again(
    smtp_server: ScriptedSmtpServer, close_was_received: bool
) -> None:
    async with open_sender(smtp_server) as sender:
        assert await sender.send(make_message("a@customer.example")) == SENT
        smtp_server.hang_up()
        await asyncio.sleep(0.05 if close_was_received else 0)
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert smtp_server.recipients() == ["a@customer.example", "b@customer.example"]
    assert len(smtp_server.connections) == 2


async def test_a_connection_over_its_limit_is_replaced(smtp_server: ScriptedSmtpServer) -> None:
    async with open_sender(smtp_server) as sender:
        assert await sender.send(make_message("a@customer.example")) == SENT
        smtp_server.replies["MAIL"] = ["421 4.7.0 Too many mails on this connection"]
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert smtp_server.recipients() == ["a@customer.example", "b@customer.example"]
    assert len(smtp_server.connections) == 2


async def test_a_mail_interrupted_by_the_server_is_retried_later(smtp_server: ScriptedSmtpServer) -> None:
    smtp_server.connections_to_drop = 1
    async with open_sender(smtp_server) as sender:
        broken = await sender.send(make_message("a@customer.example"))
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert broken.result == Result.TEMPORARY
    assert len(smtp_server.connections) == 2
    assert smtp_server.commands["MAIL"] == 2  # it may have taken the mail, so it is not sent again at once


async def test_an_unreachable_server_is_a_temporary_failure_tried_once_per_pass() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with make_channel(f"smtp://{ENCODED_LOGIN}@127.0.0.1:{port}").open() as sender:
            first = await sender.send(make_message())
            second = await sender.send(make_message())

    assert first.result == Result.TEMPORARY
    assert f"127.0.0.1 on port {port}" in (first.error or "")
    assert second is first


async def test_a_pass_waits_for_a_silent_server_only_once() -> None:
    connections = []

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5), make_channel(f"smtp://127.0.0.1:{port}", attempt_timeout=0.2).open() as sender:
            outcomes = [await sender.send(make_message()) for _ in range(50)]
        for connection in connections:
            connection.close()

    assert {outcome.result for outcome in outcomes} == {Result.TEMPORARY}
    assert outcomes[0].error == "The mail server did not reply within 0.2 s"
    assert len(connections) == 1


async def test_a_server_that_accepts_few_connections_is_used_with_those() -> None:
    async with running_scripted_server(max_connections=2) as smtp_server, open_sender(smtp_server) as sender:
        smtp_server.delay = 0.01
        recipients = [f"user{n}@customer.example" for n in range(20)]
        outcomes = await asyncio.gather(*(sender.send(make_message(recipient)) for recipient in recipients))

        assert outcomes == [SENT] * 20
        assert sorted(smtp_server.recipients()) == sorted(recipients)


async def test_a_connection_that_is_not_accepted_does_not_delay_mails_on_open_ones(
    smtp_server: ScriptedSmtpServer,
) -> None:
    async with open_sender(smtp_server, attempt_timeout=2) as sender:
        assert await sender.send(make_message("a@customer.example")) == SENT
        smtp_server.delay = 0.05
        smtp_server.silent = True  # for new connections
        outcomes = await asyncio.gather(*(sender.send(make_message(f"b{n}@customer.example")) for n in range(10)))

    assert outcomes.count(SENT) == 9
    assert {outcome.result for outcome in outcomes} == {Result.SENT, Result.TEMPORARY}


async def test_a_slow_mail_times_out_without_affecting_the_next_one(smtp_server: ScriptedSmtpServer) -> None:
    smtp_server.delay = 5
    async with open_sender(smtp_server, attempt_timeout=0.2) as sender:
        slow = await sender.send(make_message("a@customer.example"))
        smtp_server.delay = 0
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert slow.result == Result.TEMPORARY
    assert smtp_server.recipients() == ["b@customer.example"]


async def test_a_cancelled_mail_ends_its_connection(smtp_server: ScriptedSmtpServer) -> None:
    smtp_server.delay = 0.5
    async with open_sender(smtp_server) as sender:
        sending = asyncio.create_task(sender.send(make_message("a@customer.example")))
        await asyncio.sleep(0.1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        smtp_server.delay = 0
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert len(smtp_server.connections) == 2  # on the first, the reply to one mail would be read as another's
    assert smtp_server.recipients() == ["b@customer.example"]


async def test_a_mail_cancelled_when_its_connection_has_just_opened_closes_it(smtp_server: ScriptedSmtpServer) -> None:
    connections = Connections(Server.from_url(smtp_server.url()), timeout=5)

    async def has_opened() -> bool:
        return not connections._is_opening

    async def is_closed() -> bool:
        return smtp_server.connections[0].transport is None

    taking = asyncio.create_task(connections._take(asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0)
    async with connections._changed:  # as if another mail were just looking for a connection
        assert await eventually(has_opened)
        assert not await is_closed()
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking

    assert await eventually(is_closed, within=2)


async def test_a_connection_with_malformed_replies_is_replaced(smtp_server: ScriptedSmtpServer) -> None:
    smtp_server.replies["MAIL"] = ["what?"]
    async with open_sender(smtp_server) as sender:
        broken = await sender.send(make_message("a@customer.example"))
        assert await sender.send(make_message("b@customer.example")) == SENT

    assert broken.result == Result.TEMPORARY
    assert len(smtp_server.connections) == 2
