"""What crosses the wire about notifications."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from app.core.fields import Out, OutTime
from app.core.outbox.models import DeliveryStatus
from app.core.web.paging import CountedPage, CountedPageQuery
from app.notifications.links import for_the_log
from app.notifications.queries import Notification, NotificationContent


class NotificationFilter(CountedPageQuery):
    """Which notifications; a filter may be repeated, which means any of its values."""

    status: Annotated[list[DeliveryStatus], Field(max_length=10)] = []
    ticket_id: Annotated[list[UUID], Field(max_length=20)] = []


class NotificationOut(Out):
    """A message to somebody, and what became of it. Times are real."""

    id: UUID
    channel: Annotated[str, Field(examples=["EMAIL"])]
    to: Annotated[str, Field(examples=["mia@customer.example"])]
    subject: Annotated[str, Field(examples=["[GROWFIN-42] Answered: Cannot export March"])]
    status: Annotated[DeliveryStatus, Field(examples=["SENT"])]
    attempts: Annotated[int, Field(examples=[1])]
    last_error: str | None
    ticket_id: UUID | None
    created_at: OutTime
    sent_at: OutTime | None

    @classmethod
    def of(cls, row: Notification) -> Self:
        """The answer about this delivery."""
        return cls(**_fields(row))


class NotificationWithBody(NotificationOut):
    """A message with what it says."""

    body: Annotated[str, Field(description="As plain text.", examples=["We mended the export: please try again."])]
    body_html: str | None

    @classmethod
    def of_content(cls, row: NotificationContent) -> Self:
        """The answer about this delivery, with its body."""
        return cls(**_fields(row), **_bodies(row))


def _fields(row: Notification) -> dict[str, object]:
    return {
        "id": row.id,
        "channel": row.channel,
        "to": row.recipient,
        "subject": row.subject,
        "status": row.status,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "ticket_id": row.ticket_id,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
    }


def _bodies(row: NotificationContent) -> dict[str, str | None]:
    html = row.body_html and for_the_log(row.body_html, row.link)
    return {"body": for_the_log(row.body_text, row.link), "body_html": html}


class NotificationPage(CountedPage[NotificationOut]):
    """A page of notifications."""
