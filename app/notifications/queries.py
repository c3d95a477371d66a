"""Queries of the notification log: mails with their deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.filters import make_conditions
from app.core.outbox.models import Delivery
from app.notifications.errors import NotificationNotFound
from app.notifications.filters import NotificationFilters
from app.notifications.mails import EMAIL
from app.notifications.models import Mail


@dataclass(frozen=True)
class LogEntry:
    """A line of the log."""

    id: UUID
    channel: str
    recipient: str
    subject: str
    status: str
    attempts: int
    last_error: str | None
    ticket_id: UUID | None
    created_at: datetime
    sent_at: datetime | None


@dataclass(frozen=True)
class LogEntryContent(LogEntry):
    """A line of the log with the texts of the mail. `link` is the address of their link, without the token."""

    body_text: str
    body_html: str | None
    link: str | None


_ENTRY_COLUMNS = (
    Mail.id, Delivery.channel, Mail.recipient, Mail.subject, Delivery.status, Delivery.attempts, Delivery.last_error,
    Mail.ticket_id, Mail.created_at, Delivery.sent_at,
)  # fmt: skip
_CONTENT_COLUMNS = (Mail.body_text, Mail.body_html, Mail.link)


async def list_entries(
    db: AsyncSession, org_id: UUID, filters: NotificationFilters, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[LogEntry]:
    """Read the notifications that follow the position `after`, newest first, without their bodies."""
    # Order by the table whose index is read: `mails` if tickets are selected, else `deliveries`.
    created_at, mail_id = (Mail.created_at, Mail.id) if filters.ticket_id else (Delivery.created_at, Delivery.id)
    statement = (
        select(*_ENTRY_COLUMNS)
        .select_from(Delivery)
        .join(Mail, and_(Mail.org_id == org_id, Mail.id == Delivery.id))
        .where(*_conditions(org_id, filters))
        .order_by(created_at.desc(), mail_id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(created_at, mail_id) < after)
    return [LogEntry(**row._asdict()) for row in await db.execute(statement)]


async def count_entries(db: AsyncSession, org_id: UUID, filters: NotificationFilters) -> int:
    """Count the notifications that match."""
    statement = select(func.count()).select_from(Delivery)
    if filters.ticket_id:
        statement = statement.join(Mail, and_(Mail.org_id == org_id, Mail.id == Delivery.id))
    return await db.scalar(statement.where(*_conditions(org_id, filters))) or 0


def _conditions(org_id: UUID, filters: NotificationFilters) -> list[ColumnElement[bool]]:
    return [Delivery.org_id == org_id, Delivery.channel == EMAIL.name, *make_conditions(org_id, filters)]


async def get_entry(db: AsyncSession, org_id: UUID, delivery_id: UUID) -> LogEntryContent:
    """Read a notification with its body.

    Raises:
        NotificationNotFound
    """
    statement = (
        select(*_ENTRY_COLUMNS, *_CONTENT_COLUMNS)
        .select_from(Mail)
        .join(Delivery, and_(Delivery.org_id == org_id, Delivery.id == Mail.id))
        .where(Mail.org_id == org_id, Mail.id == delivery_id)
    )
    row = (await db.execute(statement)).one_or_none()
    if row is None:
        raise NotificationNotFound
    return LogEntryContent(**row._asdict())
