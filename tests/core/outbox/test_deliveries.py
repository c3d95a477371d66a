"""Deliveries: sending once, retries, killed and stopping workers, housekeeping. Mails go to a real SMTP server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import claims, deliveries
from app.core.outbox.backoff import Backoff
from app.core.outbox.channels import Channel, ChannelPolicy, Channels, Outcome, Result, Sender
from app.core.outbox.claims import DELIVERIES_PER_BATCH, LEASE_DURATION
from app.core.outbox.deliveries import NewDelivery, finish_attempt
from app.core.outbox.models import DELIVER, Delivery, DeliveryStatus, Timer
from app.notifications import mails
from app.notifications.channel import make_email_channel
from app.notifications.mails import EMAIL, MailDraft, OutgoingMail
from app.notifications.models import Mail
from tests.databases import eventually, open_pool, superuser_connection
from tests.smtp_server import SmtpServer, running_smtp_server

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

SECOND = timedelta(seconds=1)


@pytest.fixture
async def smtp_server() -> AsyncIterator[SmtpServer]:
    async with running_smtp_server() as smtp_server:
        yield smtp_server


@pytest.fixture
def channels(smtp_server: SmtpServer) -> Channels:
    return make_channels(smtp_server)


def make_channels(smtp_server: SmtpServer, sender: str = "desk@growfin.test") -> Channels:
    return {"EMAIL": make_email_channel(smtp_url=smtp_server.url, mail_from=sender, mail_dir=Path("/nowhere"))}


async def queue_mails(database: Database, *recipients: str, org_id: UUID | None = None) -> UUID:
    """Queue a mail to each recipient; return the organisation that sends them."""
    org_id = org_id or uuid4()
    async with database.session(org_id) as db:
        drafts = [MailDraft(recipient=to, subject="Answered", text="Hello") for to in recipients]
        await mails.queue(db, org_id, drafts)
    return org_id


async def queue_without_content(database: Database, org_id: UUID, channel: str) -> UUID:
    """Queue a delivery without content; return its id."""
    policy, new = replace(EMAIL, name=channel), NewDelivery(id=new_id(), destination="https://hooks.example")
    async with database.session(org_id) as db:
        await deliveries.queue(db, org_id, policy, [new], now=real_now())
    return new.id


def make_addresses(count: int) -> list[str]:
    return [f"mia{n}@customer.example" for n in range(count)]


async def read_deliveries(database: Database, org_id: UUID) -> dict[str, Delivery]:
    """Return the organisation's deliveries by recipient."""
    statement = select(Mail.recipient, Delivery).join(Mail, Mail.id == Delivery.id).where(Delivery.org_id == org_id)
    async with database.session(org_id) as db:
        return {row.recipient: row.Delivery for row in await db.execute(statement)}


async def read_delivery(database: Database, org_id: UUID, delivery_id: UUID) -> Delivery:
    async with database.session(org_id) as db:
        return await db.get_one(Delivery, (org_id, delivery_id))


async def read_only_delivery(database: Database, org_id: UUID) -> Delivery:
    (row,) = (await read_deliveries(database, org_id)).values()
    return row


async def read_waits(database: Database, org_id: UUID) -> list[timedelta]:
    """Return the waits until the next attempts, the shortest first."""
    async with database.session(org_id) as db:
        due = await db.scalars(select(Timer.due_at).where(Timer.org_id == org_id, Timer.kind == DELIVER))
        return sorted(at - real_now() for at in due)


async def make_due(database: Database, org_id: UUID) -> None:
    """Make all waiting deliveries due."""
    async with database.session(org_id) as db:
        await db.execute(update(Timer).where(Timer.org_id == org_id).values(due_at=real_now() - SECOND))


# --- sending once ----------------------------------------------------------------------------------------------------


async def test_a_queued_mail_is_sent_once(pool: Database, smtp_server: SmtpServer, channels: Channels) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    assert (await read_only_delivery(pool, org_id)).status == DeliveryStatus.QUEUED

    assert await deliveries.deliver_due(pool, channels) == 1
    assert await deliveries.deliver_due(pool, channels) == 0
    row = await read_only_delivery(pool, org_id)
    assert (row.status, row.attempts, row.last_error) == (DeliveryStatus.SENT, 1, None)
    assert row.sent_at is not None
    assert smtp_server.count_copies() == {f"<{row.id}@growfin.test>": 1}
    assert await read_waits(pool, org_id) == []


async def test_two_workers_at_once_send_each_mail_once(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    organisations = [await queue_mails(pool, *make_addresses(DELIVERIES_PER_BATCH + 20)) for _ in range(3)]

    await asyncio.gather(*(deliveries.deliver_due(pool, channels) for _ in range(2)))

    assert set(smtp_server.count_copies().values()) == {1}
    assert len(smtp_server.received) == 3 * (DELIVERIES_PER_BATCH + 20)
    for org_id in organisations:
        assert {row.status for row in (await read_deliveries(pool, org_id)).values()} == {DeliveryStatus.SENT}


async def test_a_claimed_delivery_is_not_claimed_by_another_worker(pool: Database, channels: Channels) -> None:
    for _ in range(5):
        org_id = await queue_mails(pool, *make_addresses(3 * DELIVERIES_PER_BATCH))
        batches = await asyncio.gather(*(claims.claim(pool, org_id, channels) for _ in range(8)))
        claimed = [one.id for batch in batches for one in batch]
        assert len(set(claimed)) == len(claimed) <= 3 * DELIVERIES_PER_BATCH


async def test_a_backlog_of_one_organisation_does_not_starve_another(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    await queue_mails(pool, *make_addresses(3 * DELIVERIES_PER_BATCH))
    await queue_mails(pool, "bo@customer.example")

    await deliveries.deliver_due(pool, channels)
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

    assert await deliveries.deliver_due(pool, channels) == 0
    assert (await read_only_delivery(pool, org_id)).status == DeliveryStatus.FAILED
    assert smtp_server.received == []


# --- retries ---------------------------------------------------------------------------------------------------------


async def test_a_temporary_refusal_is_retried_with_the_same_message_id(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["mia@customer.example"] = ["451 Try again later", "250 OK"]
    org_id = await queue_mails(pool, "mia@customer.example", "bo@customer.example")
    await deliveries.deliver_due(pool, channels)

    waiting = (await read_deliveries(pool, org_id))["mia@customer.example"]
    assert (waiting.status, waiting.attempts, waiting.sent_at) == (DeliveryStatus.QUEUED, 1, None)
    assert "451" in (waiting.last_error or "")
    assert smtp_server.recipients() == ["bo@customer.example"]

    await make_due(pool, org_id)
    assert await deliveries.deliver_due(pool, channels) == 1
    sent = (await read_deliveries(pool, org_id))["mia@customer.example"]
    assert (sent.status, sent.attempts, sent.last_error) == (DeliveryStatus.SENT, 2, None)
    assert smtp_server.refused[0].message_id == smtp_server.received[1].message_id


async def test_a_delivery_fails_after_the_documented_waits_and_attempts(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["mia@customer.example"] = ["451 Not now"] * 7
    org_id = await queue_mails(pool, "mia@customer.example")
    waits = []
    with capture_logs() as logs:
        for _ in range(6):
            assert await deliveries.deliver_due(pool, channels) == 1
            (wait,) = await read_waits(pool, org_id)
            waits.append(wait)
            assert await deliveries.deliver_due(pool, channels) == 0
            await make_due(pool, org_id)
        assert await deliveries.deliver_due(pool, channels) == 1

    documented = [timedelta(seconds=s) for s in (30, 120, 600, 3600, 4 * 3600, 12 * 3600)]
    assert all(least - SECOND <= wait <= least * 1.2 for wait, least in zip(waits, documented, strict=True)), waits
    row = await read_only_delivery(pool, org_id)
    assert (row.status, row.attempts, row.sent_at) == (DeliveryStatus.FAILED, 7, None)
    assert "451" in (row.last_error or "")
    assert await read_waits(pool, org_id) == []
    assert [line["delivery_id"] for line in logs if line["event"] == "delivery_failed"] == [str(row.id)]


async def test_retries_of_many_deliveries_spread_out(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    for address in make_addresses(DELIVERIES_PER_BATCH):
        smtp_server.replies[address] = ["451 Not now"]
    org_id = await queue_mails(pool, *make_addresses(DELIVERIES_PER_BATCH))
    await deliveries.deliver_due(pool, channels)

    waits = await read_waits(pool, org_id)
    assert waits[0] > EMAIL.backoff.waits[0] - 2 * SECOND
    assert waits[-1] <= EMAIL.backoff.waits[0] * 1.2
    assert waits[-1] - waits[0] > 2 * SECOND


async def test_a_permanent_refusal_fails_one_delivery_at_once(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["gone@customer.example"] = ["550 No such mailbox"]
    org_id = await queue_mails(
        pool, "mia@customer.example", "gone@customer.example", "no address", "bo@customer.example"
    )
    with capture_logs():
        await deliveries.deliver_due(pool, channels)

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
    await deliveries.deliver_due(pool, channels)

    assert {(row.status, row.attempts) for row in (await read_deliveries(pool, org_id)).values()} == {
        (DeliveryStatus.QUEUED, 1)
    }
    assert all(wait > 25 * SECOND for wait in await read_waits(pool, org_id))


async def test_a_delivery_for_an_unknown_channel_waits_without_delaying_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    unknown = await queue_without_content(pool, org_id, "OF_A_LATER_VERSION")
    other = await queue_mails(pool, "bo@customer.example")

    await deliveries.deliver_due(pool, channels)
    assert set(smtp_server.recipients()) == {"mia@customer.example", "bo@customer.example"}
    waiting = await read_delivery(pool, org_id, unknown)
    assert (waiting.status, waiting.attempts) == (DeliveryStatus.QUEUED, 1)
    assert "OF_A_LATER_VERSION" in (waiting.last_error or "")
    assert (await read_only_delivery(pool, other)).status == DeliveryStatus.SENT


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
    await deliveries.deliver_due(pool, with_one_wait)
    (wait,) = await read_waits(pool, org_id)
    assert timedelta(minutes=5) - 2 * SECOND < wait <= timedelta(minutes=5)

    await make_due(pool, org_id)
    with capture_logs():
        await deliveries.deliver_due(pool, with_one_wait)
    assert ((await read_only_delivery(pool, org_id)).status, await read_waits(pool, org_id)) == (
        DeliveryStatus.FAILED,
        [],
    )


async def test_a_delivery_without_content_fails_without_affecting_others(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    bare = await queue_without_content(pool, org_id, "EMAIL")
    with capture_logs():
        await deliveries.deliver_due(pool, channels)

    failed = await read_delivery(pool, org_id, bare)
    assert (failed.status, failed.last_error) == (DeliveryStatus.FAILED, "The message has no content")
    assert smtp_server.recipients() == ["mia@customer.example"]


# --- a killed worker, a lost database --------------------------------------------------------------------------------


async def test_a_delivery_of_a_killed_worker_is_sent_again_with_the_same_message_id(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    """The worker is killed after the mail server accepted the mail and before the outcome is recorded.

    This is the only case of a second copy.
    """
    org_id = await queue_mails(pool, "mia@customer.example")
    (claim,) = await claims.claim(pool, org_id, channels)
    async with channels["EMAIL"].open() as sender:
        await sender.send(claim.message)

    assert await deliveries.deliver_due(pool, channels) == 0
    (lease,) = await read_waits(pool, org_id)
    assert timedelta(0) <= LEASE_DURATION - lease < 5 * SECOND

    await make_due(pool, org_id)
    assert await deliveries.deliver_due(pool, channels) == 1
    row = await read_only_delivery(pool, org_id)
    assert (row.status, row.attempts) == (DeliveryStatus.SENT, 2)
    assert smtp_server.count_copies() == {f"<{row.id}@growfin.test>": 2}


async def test_a_late_outcome_does_not_overwrite_a_newer_one(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    (claim,) = await claims.claim(pool, org_id, channels)
    await make_due(pool, org_id)
    await deliveries.deliver_due(pool, channels)
    await claims.record(pool, org_id, [finish_attempt(claim, Outcome(Result.TEMPORARY, "Too slow"), EMAIL.backoff)])

    row = await read_only_delivery(pool, org_id)
    assert (row.status, row.last_error) == (DeliveryStatus.SENT, None)
    assert await read_waits(pool, org_id) == []
    assert len(smtp_server.received) == 1


async def test_the_outcome_is_recorded_when_the_database_is_unavailable_after_sending(
    own_database: TestServer, superuser: Superuser, smtp_server: SmtpServer
) -> None:
    channels = make_channels(smtp_server)
    name = await superuser.fetchval("SELECT current_database()")
    close_connections = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'tessera_service'"
    )
    async with open_pool(own_database) as pool, superuser_connection(own_database.at("postgres")) as elsewhere:
        org_id = await queue_mails(pool, "mia@customer.example")
        smtp_server.release = asyncio.Event()
        with capture_logs() as logs:
            delivering = asyncio.create_task(deliveries.deliver_due(pool, channels))
            await asyncio.sleep(0.3)
            await elsewhere.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
            await elsewhere.fetch(close_connections, name)
            smtp_server.release.set()
            assert await eventually(partial(is_logged, logs, "outcomes_not_recorded"))
            await elsewhere.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            assert await delivering == 1

        assert (await read_only_delivery(pool, org_id)).status == DeliveryStatus.SENT
    assert len(smtp_server.received) == 1


async def is_logged(logs: Sequence[Mapping[str, object]], event: str) -> bool:
    return any(line["event"] == event for line in logs)


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_a_stopping_worker_releases_deliveries_that_it_has_not_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, *make_addresses(10))

    def is_stopping() -> bool:
        return len(smtp_server.received) >= 3

    await deliveries.deliver_due(pool, channels, is_stopping)
    after = await read_deliveries(pool, org_id)
    assert Counter(row.status for row in after.values()) == {DeliveryStatus.SENT: 3, DeliveryStatus.QUEUED: 7}
    assert {row.attempts for row in after.values() if row.status == DeliveryStatus.QUEUED} == {0}
    assert all(wait <= timedelta(0) for wait in await read_waits(pool, org_id))

    await deliveries.deliver_due(pool, channels)
    assert set(smtp_server.count_copies().values()) == {1}
    assert len(smtp_server.received) == 10


async def test_a_cancelled_worker_records_the_mails_that_it_has_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    """Sent mails are not sent again, and the remaining mails do not wait for the end of the lease."""
    org_id = await queue_mails(pool, *make_addresses(10))
    delivering = asyncio.create_task(deliveries.deliver_due(pool, channels))
    while len(smtp_server.received) < 4:  # noqa: ASYNC110 - must continue at the next step of the loop
        await asyncio.sleep(0)
    smtp_server.release = asyncio.Event()
    await asyncio.sleep(0.1)
    sent = len(smtp_server.received)
    delivering.cancel()
    await asyncio.wait([delivering])
    smtp_server.release.set()

    after = await read_deliveries(pool, org_id)
    assert Counter(row.status for row in after.values()) == {
        DeliveryStatus.SENT: sent,
        DeliveryStatus.QUEUED: 10 - sent,
    }
    waits = await read_waits(pool, org_id)
    assert len([wait for wait in waits if wait > timedelta(0)]) == 1
    assert delivering.cancelled()


# --- housekeeping ----------------------------------------------------------------------------------------------------


async def test_housekeeping_deletes_old_finished_deliveries_in_batches(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.replies["gone@customer.example"] = ["550 No such mailbox"]
    smtp_server.replies["later@customer.example"] = ["451 Not now"]
    org_id = await queue_mails(pool, "sent@customer.example", "gone@customer.example", "later@customer.example")
    other = await queue_mails(pool, "sent@customer.example")
    with capture_logs():
        await deliveries.deliver_due(pool, channels)
    async with pool.session(org_id) as db:
        await db.execute(text("UPDATE deliveries SET created_at = created_at - interval '91 days'"))
    await queue_mails(pool, "new@customer.example", org_id=org_id)
    await deliveries.deliver_due(pool, channels)

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
