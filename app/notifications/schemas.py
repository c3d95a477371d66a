"""Define the responses about notifications: the log of mails."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from app.core.fields import EXAMPLE_ID, CreatedAt, ResponseModel, UtcTimestamp
from app.core.outbox.models import DeliveryStatus
from app.core.web.paging import CountedPage, CountedPageQuery
from app.notifications.filters import NotificationFilters
from app.notifications.links import hide_token
from app.notifications.queries import LogEntry, LogEntryContent


class NotificationListQuery(NotificationFilters, CountedPageQuery):
    """Select notifications. A repeated filter matches any of its values."""


class Notification(ResponseModel):
    """A message to a user or requester, and whether it was sent. All times are real time."""

    id: Annotated[UUID, Field(description="The notification's id.", examples=[EXAMPLE_ID])]
    channel: Annotated[str, Field(description="The channel that sends the notification.", examples=["EMAIL"])]
    to: Annotated[str, Field(description="The recipient's address.", examples=["mia@customer.example"])]
    subject: Annotated[str, Field(description="The subject line.", examples=["[GROWFIN-42] Cannot export March"])]
    status: Annotated[
        DeliveryStatus,
        Field(
            description="`QUEUED`: will be sent. `SENT`: done. `FAILED`: will not be tried again.", examples=["SENT"]
        ),
    ]
    attempts: Annotated[int, Field(description="The number of attempts to send the notification.", examples=[1])]
    last_error: Annotated[str | None, Field(description="Why the last attempt failed; null if no attempt has failed.")]
    ticket_id: Annotated[UUID | None, Field(description="The ticket that it is about; null for none.")]
    created_at: CreatedAt
    sent_at: Annotated[UtcTimestamp | None, Field(description="When it was sent; null if it was not.")]

    @classmethod
    def of(cls, row: LogEntry) -> Self:
        """Make the response from an entry of the log."""
        return cls(**_fields(row))


class NotificationDetails(Notification):
    """A notification with its text."""

    body: Annotated[
        str, Field(description="The text as plain text.", examples=["We fixed the export. Please try again."])
    ]
    body_html: Annotated[str | None, Field(description="The text as HTML; null if it has none.")]

    @classmethod
    def of_content(cls, row: LogEntryContent) -> Self:
        """Make the response from an entry of the log with its texts."""
        return cls(**_fields(row), **_bodies(row))


def _fields(row: LogEntry) -> dict[str, object]:
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


def _bodies(row: LogEntryContent) -> dict[str, str | None]:
    html = row.body_html and hide_token(row.body_html, row.link)
    return {"body": hide_token(row.body_text, row.link), "body_html": html}


class NotificationPage(CountedPage[Notification]):
    """A page of notifications."""
