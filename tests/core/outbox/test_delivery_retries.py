"""Deliveries that fail are retried after the waits of their channel, and then fail for good."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.database.pool import Database
from app.core.outbox.backoff import Backoff
from app.core.outbox.channels import Channel, ChannelPolicy, Channels, Outcome, Result, Sender
from app.core.outbox.delivery_claims import claim_deliveries
from app.core.outbox.delivery_outcomes import FinishedAttempt, record_attempts
from app.core.outbox.delivery_turns import DELIVERIES_PER_BATCH
from app.core.outbox.models import DeliveryStatus, Timer
from app.notifications.mails import EMAIL, OutgoingMail
from tests.core.outbox.queued_mails import (
    SECOND,
    make_addresses,
    make_channels,
    make_due,
    queue_mails,
    queue_without_content,
    read_deliveries,
    read_delivery,
    read_single_delivery,
    read_waits,
)
from tests.databases import eventually
from tests.delivering import deliver_due
from tests.smtp_server import SmtpServer, running_smtp_server


async def test_a_temporary_refusal_is_retried_with_the_same_message_id(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["mia@customer.example"] = ["451 Try again later", "250 OK"]
    org_id = await queue_mails(pool, "mia@customer.example", "bo@customer.example")
    await deliver_due(pool, channels)

    waiting = (await read_deliveries(pool, org_id))["mia@customer.example"]
    assert (waiting.status, waiting.attempts, waiting.sent_at) == (DeliveryStatus.QUEUED, 1, None)
    assert "451" in (waiting.last_error or "")
    assert smtp_server.recipients() == ["bo@customer.example"]

    await make_due(pool, org_id)
    assert await deliver_due(pool, channels) == 1
    sent = (await read_deliveries(pool, org_id))["mia@customer.example"]
    assert (sent.status, sent.attempts, sent.last_error) == (DeliveryStatus.SENT, 2, None)
    assert smtp_server.refused[0].message_id == smtp_server.received[1].message_id


async def test_a_delivery_fails_after_the_documented_waits_and_attempts(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["mia@customer.example"] = ["451 Not now"] * 8
    org_id = await queue_mails(pool, "mia@customer.example")
    waits = []
    with capture_logs() as logs:
        for _ in range(7):
            assert await deliver_due(pool, channels) == 1
            (wait,) = await read_waits(pool, org_id)
            waits.append(wait)
            assert await deliver_due(pool, channels) == 0
            await make_due(pool, org_id)
        assert await deliver_due(pool, channels) == 1

    documented = [timedelta(seconds=s) for s in (5, 30, 120, 600, 3600, 4 * 3600, 12 * 3600)]
    assert all(least - SECOND <= wait <= least * 1.2 for wait, least in zip(waits, documented, strict=True)), waits
    row = await read_single_delivery(pool, org_id)
    assert (row.status, row.attempts, row.sent_at) == (DeliveryStatus.FAILED, 8, None)
    assert "451" in (row.last_error or "")
    assert await read_waits(pool, org_id) == []
    assert [line["delivery_id"] for line in logs if line["event"] == "delivery_failed"] == [str(row.id)]


async def test_retries_of_many_deliveries_spread_out(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    for address in make_addresses(DELIVERIES_PER_BATCH):
        smtp_server.replies[address] = ["451 Not now"]
    org_id = await queue_mails(pool, *make_addresses(DELIVERIES_PER_BATCH))
    await deliver_due(pool, channels)

    waits = await read_waits(pool, org_id)
    assert waits[0] > EMAIL.backoff.waits[0] - 2 * SECOND
    assert waits[-1] <= EMAIL.backoff.waits[0] * 1.2
    assert waits[-1] - waits[0] > SECOND / 2


async def test_a_permanent_refusal_fails_one_delivery_at_once(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["gone@customer.example"] = ["550 No such mailbox"]
    org_id = await queue_mails(
        pool, "mia@customer.example", "gone@customer.example", "no address", "bo@customer.example"
    )
    with capture_logs():
        await deliver_due(pool, channels)

    sent = await read_deliveries(pool, org_id)
    assert {address: row.status for address, row in sent.items()} == {
        "mia@customer.example": DeliveryStatus.SENT,
        "gone@customer.example": DeliveryStatus.FAILED,
        "no address": DeliveryStatus.FAILED,
        "bo@customer.example": DeliveryStatus.SENT,
    }
    assert "550" in (sent["gone@customer.example"].last_error or "")
    assert {row.attempts for row in sent.values()} == {1}
    assert await read_waits(pool, org_id) == []


async def test_an_unreachable_mail_server_is_retried_later(pool: Database) -> None:
    async with running_smtp_server() as smtp_server:
        channels = make_channels(smtp_server)
    org_id = await queue_mails(pool, *make_addresses(3))
    await deliver_due(pool, channels)

    assert {(row.status, row.attempts) for row in (await read_deliveries(pool, org_id)).values()} == {
        (DeliveryStatus.QUEUED, 1)
    }
    assert all(wait > 3 * SECOND for wait in await read_waits(pool, org_id))


async def test_a_delivery_for_an_unknown_channel_waits_without_delaying_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    unknown = await queue_without_content(pool, org_id, "OF_A_LATER_VERSION")
    other = await queue_mails(pool, "bo@customer.example")

    await deliver_due(pool, channels)
    assert set(smtp_server.recipients()) == {"mia@customer.example", "bo@customer.example"}
    waiting = await read_delivery(pool, org_id, unknown)
    assert (waiting.status, waiting.attempts) == (DeliveryStatus.QUEUED, 1)
    assert "OF_A_LATER_VERSION" in (waiting.last_error or "")
    assert (await read_single_delivery(pool, other)).status == DeliveryStatus.SENT


@dataclass(frozen=True)
class ChannelWithPolicy:
    """The EMAIL channel with another policy."""

    channel: Channel[OutgoingMail]
    policy: ChannelPolicy

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, OutgoingMail]:
        return await self.channel.load(db, org_id, ids)

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        await self.channel.delete(db, org_id, ids)

    def open(self) -> AbstractAsyncContextManager[Sender[OutgoingMail]]:
        return self.channel.open()


async def test_the_channel_declares_the_waits(pool: Database, smtp_server: SmtpServer, channels: Channels) -> None:
    with_one_wait = {
        "EMAIL": ChannelWithPolicy(channels["EMAIL"], replace(EMAIL, backoff=Backoff((timedelta(minutes=5),))))
    }
    smtp_server.replies["mia@customer.example"] = ["451 Not now"] * 2
    org_id = await queue_mails(pool, "mia@customer.example")
    await deliver_due(pool, with_one_wait)
    (wait,) = await read_waits(pool, org_id)
    assert timedelta(minutes=5) - 2 * SECOND < wait <= timedelta(minutes=5)

    await make_due(pool, org_id)
    with capture_logs():
        await deliver_due(pool, with_one_wait)
    assert ((await read_single_delivery(pool, org_id)).status, await read_waits(pool, org_id)) == (
        DeliveryStatus.FAILED,
        [],
    )


async def test_a_delivery_without_content_fails_without_affecting_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    bare = await queue_without_content(pool, org_id, "EMAIL")
    with capture_logs():
        await deliver_due(pool, channels)

    failed = await read_delivery(pool, org_id, bare)
    assert (failed.status, failed.last_error) == (DeliveryStatus.FAILED, "The message has no content")
    assert smtp_server.recipients() == ["mia@customer.example"]


async def test_outcomes_do_not_deadlock_with_a_transaction_that_deletes_the_same_mails(
    pool: Database, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example", "bo@customer.example")
    first, second = await claim_deliveries(pool, org_id, channels, limit=2)
    attempts = [
        FinishedAttempt(first, Outcome(Result.TEMPORARY, "451 Not now"), DeliveryStatus.QUEUED, timedelta(seconds=30)),
        FinishedAttempt(second, Outcome(Result.SENT), DeliveryStatus.SENT),
    ]
    lock = select(Timer.subject_id).where(Timer.org_id == org_id).with_for_update(key_share=True)

    async def is_waiting() -> bool:
        async with pool.session(None) as db:
            return bool(await db.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")))

    async with pool.session(org_id) as db:  # locks in the order of ids, as erasures do
        await db.execute(lock.where(Timer.subject_id == first.id))
        recording = asyncio.create_task(record_attempts(pool, org_id, attempts))
        assert await eventually(is_waiting)
        await db.execute(lock.where(Timer.subject_id == second.id))
    await recording

    rows = (await read_deliveries(pool, org_id)).values()
    assert {row.status for row in rows} == {DeliveryStatus.QUEUED, DeliveryStatus.SENT}
