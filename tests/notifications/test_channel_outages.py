"""The EMAIL channel when its mail server hangs up, is silent, or is not there."""

from __future__ import annotations

import asyncio
import socket

import pytest

from app.core.outbox.channels import Result
from tests.notifications.smtp_relay import ENCODED_LOGIN, SENT, Relay, a_channel, a_message, a_sender


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
        async with a_channel(f"smtp://{ENCODED_LOGIN}@127.0.0.1:{port}").open() as sender:
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
        async with asyncio.timeout(5), a_channel(f"smtp://127.0.0.1:{port}", attempt_timeout=0.2).open() as sender:
            outcomes = [await sender.send(a_message()) for _ in range(50)]
        for connection in connections:
            connection.close()

    assert {outcome.result for outcome in outcomes} == {Result.TEMPORARY}
    assert outcomes[0].error == "The mail server did not answer within 0.2 s"
    assert len(connections) == 1


async def test_a_mail_that_takes_too_long_is_given_up_and_the_next_is_not(relay: Relay) -> None:
    relay.delay = 5
    async with a_sender(relay, attempt_timeout=0.2) as sender:
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
