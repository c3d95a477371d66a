"""Lanes that hang delay no other lanes."""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

import pytest

from app.core.database.pool import Database
from app.core.outbox.channels import Channels
from app.core.outbox.delivery_lanes import MAX_REPLACED
from app.core.outbox.delivery_turns import MAX_WAITING
from app.core.outbox.models import DeliveryStatus
from app.notifications.channel import DEFAULT_CONNECTIONS
from tests.core.outbox.queued_mails import (
    SOON,
    has_received,
    make_addresses,
    make_channels,
    queue_mails,
    read_deliveries,
    seconds_until_received,
)
from tests.databases import eventually
from tests.delivering import running_deliveries
from tests.smtp_server import SmtpServer

PROMPT = 1.5  # seconds; half a second longer than hanging lanes may delay a mail, on a busy machine


async def test_a_lane_that_hangs_delays_no_other_lane_of_the_same_organisation(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.hanging = {"hangs.example"}
    org_id = await queue_mails(pool, *make_addresses(2 * MAX_WAITING, "hangs.example"))
    others = [f"mia@customer{n}.example" for n in range(5)]
    await queue_mails(pool, *others, org_id=org_id)
    async with running_deliveries(pool, channels):
        assert await seconds_until_received(smtp_server, *others) < SOON
        later = "bo@customer0.example"
        await queue_mails(pool, later, org_id=org_id)
        assert await seconds_until_received(smtp_server, later) < SOON
        assert await eventually(partial(has_released, pool, org_id))


async def has_released(pool: Database, org_id: UUID) -> bool:
    """Return whether the mail that hangs is the only one with an attempt, besides those that were sent."""
    rows = (await read_deliveries(pool, org_id)).values()
    return sum(row.attempts for row in rows if row.status == DeliveryStatus.QUEUED) == 1


async def test_a_lane_that_begins_to_hang_leaves_connections_to_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, *make_addresses(50))
    async with running_deliveries(pool, channels):
        assert await eventually(partial(has_received, smtp_server, 50))
        smtp_server.hanging = {"customer.example"}
        await queue_mails(pool, *make_addresses(50), org_id=org_id)
        await asyncio.sleep(0.2)
        other = await queue_mails(pool, "mia@other.example")
        assert await seconds_until_received(smtp_server, "mia@other.example") < SOON
        await queue_mails(pool, "bo@other.example", org_id=other)
        assert await seconds_until_received(smtp_server, "bo@other.example") < SOON


@pytest.mark.parametrize("recipients", [3, 30])
async def test_an_organisation_whose_mails_all_hang_delays_no_other_organisation(
    pool: Database, smtp_server: SmtpServer, channels: Channels, recipients: int
) -> None:
    hanging = [f"mia@hangs{n}.example" for n in range(recipients)]
    smtp_server.hanging = {address.partition("@")[2] for address in hanging}
    await queue_mails(pool, *hanging)
    async with running_deliveries(pool, channels):
        await asyncio.sleep(0.1)
        await queue_mails(pool, *make_addresses(20))
        assert await seconds_until_received(smtp_server, *make_addresses(20)) < SOON


async def test_several_lanes_of_several_organisations_that_hang_delay_no_other_lane(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    first, *further = [f"hangs{n}.example" for n in range(4)]
    smtp_server.hanging = {first, *further}
    await queue_mails(pool, *make_addresses(10, first))
    async with running_deliveries(pool, channels):
        await asyncio.sleep(1)
        await queue_mails(pool, *[f"mia@{name}" for name in further])
        await assert_prompt(pool, smtp_server, "before")
    async with running_deliveries(pool, channels):  # after a restart, this is not known to hang
        await assert_prompt(pool, smtp_server, "after")


async def assert_prompt(pool: Database, smtp_server: SmtpServer, name: str) -> None:
    """Queue mails one by one, and assert that each arrives soon."""
    org_id = None
    for n in range(6):
        recipient = f"{name}{n}@customer.example"
        org_id = await queue_mails(pool, recipient, org_id=org_id)
        assert await seconds_until_received(smtp_server, recipient) < PROMPT
        await asyncio.sleep(0.2)


async def test_other_lanes_have_connections_while_very_many_lanes_hang(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    names = [f"hangs{n}.example" for n in range(40)]
    smtp_server.hanging = set(names)
    org_id = await queue_mails(pool, "mia@customer.example")
    async with running_deliveries(pool, channels):
        assert await seconds_until_received(smtp_server, "mia@customer.example") < SOON
        for name in names:
            await queue_mails(pool, f"mia@{name}")
        await asyncio.sleep(4)
        await queue_mails(pool, "bo@customer.example", org_id=org_id)
        assert await seconds_until_received(smtp_server, "bo@customer.example") < SOON
    assert smtp_server.max_open <= (1 + MAX_REPLACED) * DEFAULT_CONNECTIONS + 2


async def test_an_organisation_with_many_lanes_that_hang_sends_only_to_those_that_worked(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    hanging = [f"mia@hangs{n}.example" for n in range(30)]
    smtp_server.hanging = {address.partition("@")[2] for address in hanging}
    org_id = await queue_mails(pool, "mia@customer.example")
    async with running_deliveries(pool, channels):
        assert await seconds_until_received(smtp_server, "mia@customer.example") < SOON
        await queue_mails(pool, *hanging, org_id=org_id)
        await asyncio.sleep(2)
        await queue_mails(pool, "bo@customer.example", "bo@new.example", org_id=org_id)
        assert await seconds_until_received(smtp_server, "bo@customer.example") < SOON
        await asyncio.sleep(0.5)
        assert "bo@new.example" not in smtp_server.recipients()
    assert smtp_server.max_open <= 2 * DEFAULT_CONNECTIONS + 1


async def test_a_lane_that_failed_after_hanging_has_one_mail_in_flight(pool: Database, smtp_server: SmtpServer) -> None:
    smtp_server.hanging = {"hangs.example"}
    channels = make_channels(smtp_server, attempt_timeout=1)
    org_id = await queue_mails(pool, *make_addresses(20, "hangs.example"))
    async with running_deliveries(pool, channels):
        await asyncio.sleep(2.5)

    attempts = [row.attempts for row in (await read_deliveries(pool, org_id)).values()]
    assert sum(attempts) <= 3


async def test_many_lanes_that_fail_again_and_again_leave_connections_to_others(
    pool: Database, smtp_server: SmtpServer
) -> None:
    names = [f"hangs{n}.example" for n in range(8)]
    smtp_server.hanging = set(names)
    channels = make_channels(smtp_server, attempt_timeout=0.8)
    for name in names:
        await queue_mails(pool, *make_addresses(20, name))
    async with running_deliveries(pool, channels):
        await asyncio.sleep(3)
        for n in range(3):
            await queue_mails(pool, f"mia@customer{n}.example")
            assert await seconds_until_received(smtp_server, f"mia@customer{n}.example") < SOON
