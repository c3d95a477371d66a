"""The worker sends each due delivery once, and old deliveries are deleted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import select, text
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import deliveries, delivery_claims
from app.core.outbox.channels import Channels
from app.core.outbox.delivery_turns import DELIVERIES_PER_BATCH
from app.core.outbox.models import DeliveryStatus
from app.notifications import mails
from app.notifications.mails import MailDraft
from app.notifications.models import Mail
from tests.core.outbox.queued_mails import (
    make_addresses,
    queue_mails,
    read_deliveries,
    read_single_delivery,
    read_waits,
)
from tests.delivering import deliver_due
from tests.smtp_server import SmtpServer


async def test_a_queued_mail_is_sent_once(pool: Database, smtp_server: SmtpServer, channels: Channels) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    assert (await read_single_delivery(pool, org_id)).status == DeliveryStatus.QUEUED

    assert await deliver_due(pool, channels) == 1
    assert await deliver_due(pool, channels) == 0
    row = await read_single_delivery(pool, org_id)
    assert (row.status, row.attempts, row.last_error) == (DeliveryStatus.SENT, 1, None)
    assert row.sent_at is not None
    assert smtp_server.count_copies() == {f"<{row.id}@growfin.test>": 1}
    assert await read_waits(pool, org_id) == []


async def test_two_workers_at_once_send_each_mail_once(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    organisations = [await queue_mails(pool, *make_addresses(DELIVERIES_PER_BATCH + 20)) for _ in range(3)]

    await asyncio.gather(*(deliver_due(pool, channels) for _ in range(2)))

    assert set(smtp_server.count_copies().values()) == {1}
    assert len(smtp_server.received) == 3 * (DELIVERIES_PER_BATCH + 20)
    for org_id in organisations:
        assert {row.status for row in (await read_deliveries(pool, org_id)).values()} == {DeliveryStatus.SENT}


async def test_a_claimed_delivery_is_not_claimed_by_another_worker(pool: Database, channels: Channels) -> None:
    for _ in range(5):
        org_id = await queue_mails(pool, *make_addresses(3 * DELIVERIES_PER_BATCH))
        batches = await asyncio.gather(
            *(delivery_claims.claim_deliveries(pool, org_id, channels, limit=DELIVERIES_PER_BATCH) for _ in range(8))
        )
        claimed = [one.id for batch in batches for one in batch]
        assert len(set(claimed)) == len(claimed) <= 3 * DELIVERIES_PER_BATCH


async def test_a_backlog_of_one_organisation_does_not_starve_another(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    await queue_mails(pool, *make_addresses(3 * DELIVERIES_PER_BATCH))
    await queue_mails(pool, "bo@customer.example")

    await deliver_due(pool, channels)
    assert "bo@customer.example" in smtp_server.recipients()[: DELIVERIES_PER_BATCH + 1]


async def test_the_lane_of_a_mail_is_the_domain_of_its_recipient(pool: Database) -> None:
    org_id = await queue_mails(pool, "mia@customer.example", "bo@BIG.example", "no address")

    assert {to: row.lane for to, row in (await read_deliveries(pool, org_id)).items()} == {
        "mia@customer.example": "customer.example",
        "bo@BIG.example": "big.example",
        "no address": "no address",
    }


async def test_a_draft_that_could_not_be_written_is_logged_as_failed_and_never_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = uuid4()
    async with pool.session(org_id) as db:
        draft = MailDraft(recipient="mia@customer.example", subject="?", error="No such template")
        await mails.queue(db, org_id, [draft])

    assert await deliver_due(pool, channels) == 0
    assert (await read_single_delivery(pool, org_id)).status == DeliveryStatus.FAILED
    assert smtp_server.received == []


async def test_housekeeping_deletes_old_finished_deliveries_in_batches(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["gone@customer.example"] = ["550 No such mailbox"]
    smtp_server.replies["later@customer.example"] = ["451 Not now"]
    org_id = await queue_mails(pool, "sent@customer.example", "gone@customer.example", "later@customer.example")
    other = await queue_mails(pool, "sent@customer.example")
    with capture_logs():
        await deliver_due(pool, channels)
    async with pool.session(org_id) as db:
        await db.execute(text("UPDATE deliveries SET created_at = created_at - interval '91 days'"))
    await queue_mails(pool, "new@customer.example", org_id=org_id)
    await deliver_due(pool, channels)

    async with pool.session(org_id) as db:
        before = real_now() - timedelta(days=90)
        assert await deliveries.delete_old(db, org_id, {}, before) == 0  # the code does not know the channel
        assert [await deliveries.delete_old(db, org_id, channels, before, batch=1) for _ in range(3)] == [1, 1, 0]
    assert set(await read_deliveries(pool, org_id)) == {"later@customer.example", "new@customer.example"}
    async with pool.session(org_id) as db:
        left = await db.scalars(select(Mail.recipient).where(Mail.org_id == org_id))
        assert set(left) == {
            "later@customer.example",
            "new@customer.example",
        }
    assert set(await read_deliveries(pool, other)) == {"sent@customer.example"}
