"""What is numerous delays neither other lanes, nor other organisations, nor urgent mails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

from sqlalchemy import text

from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.delivery_claims import LEASE_DURATION
from app.core.outbox.delivery_turns import MAX_WAITING
from app.notifications.channel import DEFAULT_CONNECTIONS
from tests.core.outbox.queued_mails import (
    SECOND,
    SOON,
    has_received,
    make_addresses,
    make_channels,
    make_due,
    queue_mails,
    read_waits,
    seconds_until_received,
)
from tests.databases import eventually
from tests.delivering import deliver_due, running_deliveries
from tests.smtp_server import SmtpServer

# --- several at the same time ----------------------------------------------------------------------------------------


async def test_one_lane_uses_all_connections_and_keeps_them(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.25
    await queue_mails(pool, *make_addresses(24))
    await deliver_due(pool, channels)

    assert smtp_server.received[-1].at - smtp_server.received[0].at < 24 * 0.25 / 2  # a quarter is ideal
    assert smtp_server.max_open == DEFAULT_CONNECTIONS
    assert set(smtp_server.count_copies().values()) == {1}


async def test_a_lane_has_its_share_of_the_connections_once_a_mail_was_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.3
    await queue_mails(pool, *make_addresses(1 + 4 * DEFAULT_CONNECTIONS))
    await deliver_due(pool, channels)

    first, second, *_rest, last = smtp_server.received
    assert second.at - first.at > 0.25
    assert last.at - first.at < 2 * 4 * 0.3


async def test_the_number_of_connections_is_a_setting(pool: Database, smtp_server: SmtpServer) -> None:
    smtp_server.delay = 0.02
    await queue_mails(pool, *make_addresses(20))
    await deliver_due(pool, make_channels(smtp_server, connections=2))

    assert smtp_server.max_open == 2
    assert len(smtp_server.received) == 20


# --- fair turns ------------------------------------------------------------------------------------------------------


async def test_many_mails_of_one_organisation_do_not_delay_another(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.05
    await queue_mails(pool, *make_addresses(3 * MAX_WAITING))
    async with running_deliveries(pool, channels):
        assert await eventually(partial(has_received, smtp_server, 5))
        await queue_mails(pool, "bo@customer.example")
        assert await seconds_until_received(smtp_server, "bo@customer.example") < SOON


async def test_organisations_take_turns(pool: Database, smtp_server: SmtpServer) -> None:
    smtp_server.delay = 0.01
    names = [f"org{n}.example" for n in range(20)]
    for name in names:
        await queue_mails(pool, *make_addresses(10, name))
    await deliver_due(pool, make_channels(smtp_server, connections=1))

    first_half = {address.partition("@")[2] for address in smtp_server.recipients()[: 5 * len(names)]}
    assert first_half == set(names)


async def test_mails_about_accounts_go_ahead_of_mails_about_tickets(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.1
    org_id = await queue_mails(pool, *make_addresses(3 * MAX_WAITING))
    async with running_deliveries(pool, channels):
        assert await eventually(partial(has_received, smtp_server, 5))
        await queue_mails(pool, "reset@customer.example", org_id=org_id, about_account=True)
        assert await seconds_until_received(smtp_server, "reset@customer.example") < SOON


async def test_mails_about_accounts_have_a_connection_of_their_own_while_all_others_hang(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    hanging = [f"mia@hangs{n}.example" for n in range(10)]
    smtp_server.hanging = {address.partition("@")[2] for address in hanging}
    for address in hanging:
        await queue_mails(pool, address)
    async with running_deliveries(pool, channels):
        await asyncio.sleep(1.5)
        await queue_mails(pool, "reset@customer.example", about_account=True)
        assert await seconds_until_received(smtp_server, "reset@customer.example") < SOON


async def test_very_many_mails_about_accounts_do_not_stop_the_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.1
    org_id = await queue_mails(pool, *make_addresses(MAX_WAITING), about_account=True)
    async with running_deliveries(pool, channels):
        assert await eventually(partial(has_received, smtp_server, 5))
        await queue_mails(pool, "bo@customer.example", org_id=org_id)
        assert await seconds_until_received(smtp_server, "bo@customer.example") < SOON


# --- leases ----------------------------------------------------------------------------------------------------------


async def test_the_lease_of_a_running_delivery_is_renewed(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.pause()
    org_id = await queue_mails(pool, "mia@customer.example")
    async with running_deliveries(pool, channels, renewal_interval=0.1):
        await asyncio.sleep(0.3)
        await make_due(pool, org_id)
        await asyncio.sleep(0.5)
        (wait,) = await read_waits(pool, org_id)
        assert timedelta(0) <= LEASE_DURATION - wait < 2 * SECOND
        smtp_server.resume()
        assert await eventually(partial(has_received, smtp_server, 1))
        await asyncio.sleep(0.3)
    assert list(smtp_server.count_copies().values()) == [1]
    assert await read_waits(pool, org_id) == []


async def test_a_worker_does_not_send_again_what_it_holds_after_it_lost_the_lease(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.05
    org_id = await queue_mails(pool, *make_addresses(20))
    async with running_deliveries(pool, channels):
        for _ in range(5):
            await asyncio.sleep(0.05)
            await make_due(pool, org_id)
        assert await eventually(partial(has_received, smtp_server, 20))
        await asyncio.sleep(0.3)
    assert set(smtp_server.count_copies().values()) == {1}


async def test_a_delivery_that_an_earlier_version_queued_is_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    async with pool.session(org_id) as db:
        await db.execute(text("UPDATE timers SET lane = NULL WHERE org_id = :org_id").bindparams(org_id=org_id))
    assert await deliver_due(pool, channels) == 1
    assert smtp_server.recipients() == ["mia@customer.example"]
