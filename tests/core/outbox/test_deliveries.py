"""Deliveries: each message is sent once, after as many attempts as it takes. The channel is mail, to a real server."""

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
async def room() -> AsyncIterator[SmtpServer]:
    async with running_smtp_server() as room:
        yield room


@pytest.fixture
def channels(room: SmtpServer) -> Channels:
    return mail_by(room)


def mail_by(room: SmtpServer, sender: str = "desk@growfin.test") -> Channels:
    return {"EMAIL": make_email_channel(smtp_url=room.url, mail_from=sender, mail_dir=Path("/nowhere"))}


async def queue(database: Database, *recipients: str, org_id: UUID | None = None) -> UUID:
    """Queue a mail to each recipient; return the organisation that sends them."""
    org_id = org_id or uuid4()
    async with database.session(org_id) as db:
        drafts = [MailDraft(recipient=to, subject="Answered", text="Hello") for to in recipients]
        await mails.queue(db, org_id, drafts)
    return org_id


async def queue_bare(database: Database, org_id: UUID, channel: str) -> UUID:
    """Queue a delivery without content; return its id."""
    policy, new = replace(EMAIL, name=channel), NewDelivery(id=new_id(), destination="https://hooks.example")
    async with database.session(org_id) as db:
        await deliveries.queue(db, org_id, policy, [new], now=real_now())
    return new.id


def addresses(count: int) -> list[str]:
    return [f"mia{n}@customer.example" for n in range(count)]


async def rows(database: Database, org_id: UUID) -> dict[str, Delivery]:
    """Return the organisation's deliveries by recipient."""
    statement = select(Mail.recipient, Delivery).join(Mail, Mail.id == Delivery.id).where(Delivery.org_id == org_id)
    async with database.session(org_id) as db:
        return {row.recipient: row.Delivery for row in await db.execute(statement)}


async def delivery(database: Database, org_id: UUID, delivery_id: UUID) -> Delivery:
    async with database.session(org_id) as db:
        return await db.get_one(Delivery, (org_id, delivery_id))


async def the_row(database: Database, org_id: UUID) -> Delivery:
    (row,) = (await rows(database, org_id)).values()
    return row


async def due_times(database: Database, org_id: UUID) -> list[timedelta]:
    """Return how long it is until each delivery's next attempt."""
    async with database.session(org_id) as db:
        due = await db.scalars(select(Timer.due_at).where(Timer.org_id == org_id, Timer.kind == DELIVER))
        return sorted(at - real_now() for at in due)


async def make_due(database: Database, org_id: UUID) -> None:
    """Make all waiting deliveries due."""
    async with database.session(org_id) as db:
        await db.execute(update(Timer).where(Timer.org_id == org_id).values(due_at=real_now() - SECOND))


# --- once ------------------------------------------------------------------------------------------------------------


async def test_a_queued_mail_is_sent_once(pool: Database, room: SmtpServer, channels: Channels) -> None:
    org_id = await queue(pool, "mia@customer.example")
    assert (await the_row(pool, org_id)).status == DeliveryStatus.QUEUED

    assert await deliveries.deliver_due(pool, channels) == 1
    assert await deliveries.deliver_due(pool, channels) == 0
    row = await the_row(pool, org_id)
    assert (row.status, row.attempts, row.last_error) == (DeliveryStatus.SENT, 1, None)
    assert row.sent_at is not None
    assert room.count_copies() == {f"<{row.id}@growfin.test>": 1}
    assert await due_times(pool, org_id) == []


async def test_two_workers_at_once_send_each_mail_once(pool: Database, room: SmtpServer, channels: Channels) -> None:
    organisations = [await queue(pool, *addresses(DELIVERIES_PER_BATCH + 20)) for _ in range(3)]

    await asyncio.gather(*(deliveries.deliver_due(pool, channels) for _ in range(2)))

    assert set(room.count_copies().values()) == {1}
    assert len(room.received) == 3 * (DELIVERIES_PER_BATCH + 20)
    for org_id in organisations:
        assert {row.status for row in (await rows(pool, org_id)).values()} == {DeliveryStatus.SENT}


async def test_what_one_worker_has_claimed_no_other_claims(pool: Database, channels: Channels) -> None:
    for _ in range(5):
        org_id = await queue(pool, *addresses(3 * DELIVERIES_PER_BATCH))
        batches = await asyncio.gather(*(claims.claim(pool, org_id, channels) for _ in range(8)))
        claimed = [one.id for batch in batches for one in batch]
        assert len(set(claimed)) == len(claimed) <= 3 * DELIVERIES_PER_BATCH


async def test_a_backlog_of_one_organisation_does_not_starve_another(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    await queue(pool, *addresses(3 * DELIVERIES_PER_BATCH))
    await queue(pool, "bo@customer.example")

    await deliveries.deliver_due(pool, channels)
    assert "bo@customer.example" in room.recipients()[: DELIVERIES_PER_BATCH + 1]


async def test_the_lane_of_a_mail_is_the_domain_of_its_recipient(pool: Database) -> None:
    org_id = await queue(pool, "mia@customer.example", "bo@BIG.example", "no address")

    assert {to: row.lane for to, row in (await rows(pool, org_id)).items()} == {
        "mia@customer.example": "customer.example",
        "bo@BIG.example": "big.example",
        "no address": "no address",
    }


async def test_a_draft_that_could_not_be_written_is_logged_as_failed_and_never_sent(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    org_id = uuid4()
    async with pool.session(org_id) as db:
        draft = MailDraft(recipient="mia@customer.example", subject="?", error="No such template")
        await mails.queue(db, org_id, [draft])

    assert await deliveries.deliver_due(pool, channels) == 0
    assert (await the_row(pool, org_id)).status == DeliveryStatus.FAILED
    assert room.received == []


# --- again -----------------------------------------------------------------------------------------------------------


async def test_a_temporary_refusal_is_tried_again_with_the_same_message_id(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    room.replies["mia@customer.example"] = ["451 Try again later", "250 OK"]
    org_id = await queue(pool, "mia@customer.example", "bo@customer.example")
    await deliveries.deliver_due(pool, channels)

    waiting = (await rows(pool, org_id))["mia@customer.example"]
    assert (waiting.status, waiting.attempts, waiting.sent_at) == (DeliveryStatus.QUEUED, 1, None)
    assert "451" in (waiting.last_error or "")
    assert room.recipients() == ["bo@customer.example"]

    await make_due(pool, org_id)
    assert await deliveries.deliver_due(pool, channels) == 1
    sent = (await rows(pool, org_id))["mia@customer.example"]
    assert (sent.status, sent.attempts, sent.last_error) == (DeliveryStatus.SENT, 2, None)
    assert room.refused[0].message_id == room.received[1].message_id


async def test_the_waits_between_attempts_are_those_documented_and_after_the_last_it_has_failed(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    room.replies["mia@customer.example"] = ["451 Not now"] * 7
    org_id = await queue(pool, "mia@customer.example")
    waits = []
    with capture_logs() as logs:
        for _ in range(6):
            assert await deliveries.deliver_due(pool, channels) == 1
            (wait,) = await due_times(pool, org_id)
            waits.append(wait)
            assert await deliveries.deliver_due(pool, channels) == 0
            await make_due(pool, org_id)
        assert await deliveries.deliver_due(pool, channels) == 1

    documented = [timedelta(seconds=s) for s in (30, 120, 600, 3600, 4 * 3600, 12 * 3600)]
    assert all(least - SECOND <= wait <= least * 1.2 for wait, least in zip(waits, documented, strict=True)), waits
    row = await the_row(pool, org_id)
    assert (row.status, row.attempts, row.sent_at) == (DeliveryStatus.FAILED, 7, None)
    assert "451" in (row.last_error or "")
    assert await due_times(pool, org_id) == []
    assert [line["delivery_id"] for line in logs if line["event"] == "delivery_failed"] == [str(row.id)]


async def test_retries_of_many_spread_out(pool: Database, room: SmtpServer, channels: Channels) -> None:
    for address in addresses(DELIVERIES_PER_BATCH):
        room.replies[address] = ["451 Not now"]
    org_id = await queue(pool, *addresses(DELIVERIES_PER_BATCH))
    await deliveries.deliver_due(pool, channels)

    waits = await due_times(pool, org_id)
    assert waits[0] > EMAIL.backoff.waits[0] - 2 * SECOND
    assert waits[-1] <= EMAIL.backoff.waits[0] * 1.2
    assert waits[-1] - waits[0] > 2 * SECOND


async def test_a_lasting_refusal_fails_at_once_and_alone(pool: Database, room: SmtpServer, channels: Channels) -> None:
    room.replies["gone@customer.example"] = ["550 No such mailbox"]
    org_id = await queue(pool, "mia@customer.example", "gone@customer.example", "no address", "bo@customer.example")
    with capture_logs():
        await deliveries.deliver_due(pool, channels)

    sent = await rows(pool, org_id)
    assert {address: row.status for address, row in sent.items()} == {
        "mia@customer.example": DeliveryStatus.SENT,
        "gone@customer.example": DeliveryStatus.FAILED,
        "no address": DeliveryStatus.FAILED,
        "bo@customer.example": DeliveryStatus.SENT,
    }
    assert "550" in (sent["gone@customer.example"].last_error or "")
    assert {row.attempts for row in sent.values()} == {1}
    assert await due_times(pool, org_id) == []


async def test_a_mail_server_that_is_away_is_tried_again_later(pool: Database) -> None:
    async with running_smtp_server() as room:
        channels = mail_by(room)
    org_id = await queue(pool, *addresses(3))
    await deliveries.deliver_due(pool, channels)

    assert {(row.status, row.attempts) for row in (await rows(pool, org_id)).values()} == {(DeliveryStatus.QUEUED, 1)}
    assert all(wait > 25 * SECOND for wait in await due_times(pool, org_id))


async def test_a_message_for_a_channel_of_another_version_waits_and_holds_up_no_other(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    org_id = await queue(pool, "mia@customer.example")
    unknown = await queue_bare(pool, org_id, "OF_A_LATER_VERSION")
    other = await queue(pool, "bo@customer.example")

    await deliveries.deliver_due(pool, channels)
    assert set(room.recipients()) == {"mia@customer.example", "bo@customer.example"}
    waiting = await delivery(pool, org_id, unknown)
    assert (waiting.status, waiting.attempts) == (DeliveryStatus.QUEUED, 1)
    assert "OF_A_LATER_VERSION" in (waiting.last_error or "")
    assert (await the_row(pool, other)).status == DeliveryStatus.SENT


@dataclass(frozen=True)
class Impatient:
    """The EMAIL channel with another backoff."""

    channel: Channel[OutgoingMail]
    policy: ChannelPolicy

    async def load(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> Mapping[UUID, OutgoingMail]:
        return await self.channel.load(db, org_id, ids)

    async def delete(self, db: AsyncSession, org_id: UUID, ids: Sequence[UUID]) -> None:
        await self.channel.delete(db, org_id, ids)

    def open(self) -> AbstractAsyncContextManager[Sender[OutgoingMail]]:
        return self.channel.open()


async def test_the_waits_are_those_that_the_channel_declares(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    impatient = {"EMAIL": Impatient(channels["EMAIL"], replace(EMAIL, backoff=Backoff((timedelta(minutes=5),))))}
    room.replies["mia@customer.example"] = ["451 Not now"] * 2
    org_id = await queue(pool, "mia@customer.example")
    await deliveries.deliver_due(pool, impatient)
    (wait,) = await due_times(pool, org_id)
    assert timedelta(minutes=5) - 2 * SECOND < wait <= timedelta(minutes=5)

    await make_due(pool, org_id)
    with capture_logs():
        await deliveries.deliver_due(pool, impatient)
    assert ((await the_row(pool, org_id)).status, await due_times(pool, org_id)) == (DeliveryStatus.FAILED, [])


async def test_a_delivery_without_content_fails_alone(pool: Database, room: SmtpServer, channels: Channels) -> None:
    org_id = await queue(pool, "mia@customer.example")
    bare = await queue_bare(pool, org_id, "EMAIL")
    with capture_logs():
        await deliveries.deliver_due(pool, channels)

    failed = await delivery(pool, org_id, bare)
    assert (failed.status, failed.last_error) == (DeliveryStatus.FAILED, "The message has no content")
    assert room.recipients() == ["mia@customer.example"]


# --- a worker dies, the database goes away ---------------------------------------------------------------------------


async def test_a_claim_whose_worker_was_killed_comes_back_with_the_same_message_id(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    """It dies after the mail server has accepted and before the outcome is recorded: the only case of a second copy."""
    org_id = await queue(pool, "mia@customer.example")
    (claim,) = await claims.claim(pool, org_id, channels)
    async with channels["EMAIL"].open() as sender:
        await sender.send(claim.message)

    assert await deliveries.deliver_due(pool, channels) == 0
    (lease,) = await due_times(pool, org_id)
    assert timedelta(0) <= LEASE_DURATION - lease < 5 * SECOND

    await make_due(pool, org_id)
    assert await deliveries.deliver_due(pool, channels) == 1
    row = await the_row(pool, org_id)
    assert (row.status, row.attempts) == (DeliveryStatus.SENT, 2)
    assert room.count_copies() == {f"<{row.id}@growfin.test>": 2}


async def test_a_slow_worker_does_not_undo_what_the_next_one_has_done(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    org_id = await queue(pool, "mia@customer.example")
    (claim,) = await claims.claim(pool, org_id, channels)
    await make_due(pool, org_id)
    await deliveries.deliver_due(pool, channels)
    await claims.record(pool, org_id, [finish_attempt(claim, Outcome(Result.TEMPORARY, "Too slow"), EMAIL.backoff)])

    row = await the_row(pool, org_id)
    assert (row.status, row.last_error) == (DeliveryStatus.SENT, None)
    assert await due_times(pool, org_id) == []
    assert len(room.received) == 1


async def test_the_outcome_is_recorded_although_the_database_goes_away_right_after_the_mail_was_sent(
    own: TestServer, superuser: Superuser, room: SmtpServer
) -> None:
    channels = mail_by(room)
    name = await superuser.fetchval("SELECT current_database()")
    hang_up = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'tessera_service'"
    )
    async with open_pool(own) as pool, superuser_connection(own.at("postgres")) as elsewhere:
        org_id = await queue(pool, "mia@customer.example")
        room.release = asyncio.Event()
        with capture_logs() as logs:
            delivering = asyncio.create_task(deliveries.deliver_due(pool, channels))
            await asyncio.sleep(0.3)
            await elsewhere.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
            await elsewhere.fetch(hang_up, name)
            room.release.set()
            assert await eventually(partial(was_said, logs, "outcomes_not_recorded"))
            await elsewhere.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            assert await delivering == 1

        assert (await the_row(pool, org_id)).status == DeliveryStatus.SENT
    assert len(room.received) == 1


async def was_said(logs: Sequence[Mapping[str, object]], event: str) -> bool:
    return any(line["event"] == event for line in logs)


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_a_stopping_worker_gives_back_what_it_has_not_sent(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    org_id = await queue(pool, *addresses(10))

    def is_stopping() -> bool:
        return len(room.received) >= 3

    await deliveries.deliver_due(pool, channels, is_stopping)
    after = await rows(pool, org_id)
    assert Counter(row.status for row in after.values()) == {DeliveryStatus.SENT: 3, DeliveryStatus.QUEUED: 7}
    assert {row.attempts for row in after.values() if row.status == DeliveryStatus.QUEUED} == {0}
    assert all(wait <= timedelta(0) for wait in await due_times(pool, org_id))

    await deliveries.deliver_due(pool, channels)
    assert set(room.count_copies().values()) == {1}
    assert len(room.received) == 10


async def test_a_worker_that_is_stopped_during_a_mail_records_the_mails_before_it(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    """The mails before it are not sent again, and those after it do not wait for the lease."""
    org_id = await queue(pool, *addresses(10))
    delivering = asyncio.create_task(deliveries.deliver_due(pool, channels))
    while len(room.received) < 4:  # noqa: ASYNC110 - the very next moment
        await asyncio.sleep(0)
    room.release = asyncio.Event()
    await asyncio.sleep(0.1)
    sent = len(room.received)
    delivering.cancel()
    await asyncio.wait([delivering])
    room.release.set()

    after = await rows(pool, org_id)
    assert Counter(row.status for row in after.values()) == {
        DeliveryStatus.SENT: sent,
        DeliveryStatus.QUEUED: 10 - sent,
    }
    waits = await due_times(pool, org_id)
    assert len([wait for wait in waits if wait > timedelta(0)]) == 1
    assert delivering.cancelled()


# --- housekeeping ----------------------------------------------------------------------------------------------------


async def test_housekeeping_deletes_old_finished_deliveries_only_a_batch_at_a_time(
    pool: Database, room: SmtpServer, channels: Channels
) -> None:
    room.replies["gone@customer.example"] = ["550 No such mailbox"]
    room.replies["later@customer.example"] = ["451 Not now"]
    org_id = await queue(pool, "sent@customer.example", "gone@customer.example", "later@customer.example")
    other = await queue(pool, "sent@customer.example")
    with capture_logs():
        await deliveries.deliver_due(pool, channels)
    async with pool.session(org_id) as db:
        await db.execute(text("UPDATE deliveries SET created_at = created_at - interval '91 days'"))
    await queue(pool, "new@customer.example", org_id=org_id)
    await deliveries.deliver_due(pool, channels)

    async with pool.session(org_id) as db:
        before = real_now() - timedelta(days=90)
        assert await deliveries.delete_old(db, org_id, {}, before) == 0  # another version's channels
        assert [await deliveries.delete_old(db, org_id, channels, before, batch=1) for _ in range(3)] == [1, 1, 0]
    assert set(await rows(pool, org_id)) == {"later@customer.example", "new@customer.example"}
    async with pool.session(org_id) as db:
        left = await db.scalars(select(Mail.recipient).where(Mail.org_id == org_id))
        assert set(left) == {
            "later@customer.example",
            "new@customer.example",
        }
    assert set(await rows(pool, other)) == {"sent@customer.example"}
