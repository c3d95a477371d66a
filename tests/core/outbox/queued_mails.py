"""Queued mails, and the state of their deliveries."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, update

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import deliveries
from app.core.outbox.channels import Channels
from app.core.outbox.deliveries import NewDelivery
from app.core.outbox.models import DELIVER, Delivery, Timer
from app.notifications import mails
from app.notifications.channel import make_email_channel
from app.notifications.mails import EMAIL, MailDraft
from app.notifications.models import Mail
from tests.databases import ensure_counter, eventually
from tests.smtp_server import SmtpServer

SECOND = timedelta(seconds=1)
# Seconds for a mail that nothing delays, on a busy machine. What hangs would delay it by 30 s, and a backlog by at
# least 7 s.
SOON = 3.0


def make_channels(smtp_server: SmtpServer, sender: str = "desk@growfin.test", **options: Any) -> Channels:
    url, nowhere = smtp_server.url, Path("/nowhere")
    return {"EMAIL": make_email_channel(smtp_url=url, mail_from=sender, mail_dir=nowhere, **options)}


async def queue_mails(
    database: Database, *recipients: str, org_id: UUID | None = None, about_account: bool = False
) -> UUID:
    """Queue a mail to each recipient, about one ticket or about accounts; return the organisation that sends them."""
    org_id = org_id or uuid4()
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        ticket_id = None if about_account else uuid4()
        drafts = [MailDraft(recipient=to, subject="Reply", text="Hello", ticket_id=ticket_id) for to in recipients]
        await mails.queue(db, org_id, drafts)
    return org_id


async def queue_without_content(database: Database, org_id: UUID, channel: str) -> UUID:
    """Queue a delivery without content; return its id."""
    policy, new = replace(EMAIL, name=channel), NewDelivery(id=new_id(), destination="https://hooks.example")
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        await deliveries.queue(db, org_id, policy, [new], now=real_now())
    return new.id


def make_addresses(count: int, domain: str = "customer.example") -> list[str]:
    return [f"mia{n}@{domain}" for n in range(count)]


async def read_deliveries(database: Database, org_id: UUID) -> dict[str, Delivery]:
    """Return the organisation's deliveries by recipient."""
    statement = select(Mail.recipient, Delivery).join(Mail, Mail.id == Delivery.id).where(Delivery.org_id == org_id)
    async with database.session(org_id) as db:
        return {row.recipient: row.Delivery for row in await db.execute(statement)}


async def read_delivery(database: Database, org_id: UUID, delivery_id: UUID) -> Delivery:
    async with database.session(org_id) as db:
        return await db.get_one(Delivery, (org_id, delivery_id))


async def read_single_delivery(database: Database, org_id: UUID) -> Delivery:
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


async def has_received(smtp_server: SmtpServer, count: int) -> bool:
    return len(smtp_server.received) >= count


async def seconds_until_received(smtp_server: SmtpServer, *recipients: str) -> float:
    """Wait until the last of these recipients has its mail."""
    started = time.monotonic()

    async def is_received() -> bool:
        return set(recipients) <= set(smtp_server.recipients())

    assert await eventually(is_received, within=10, every=0.005)
    return time.monotonic() - started
