"""Define the responses about notifications: the log of mails."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from app.access.user_permissions import Permissions
from app.core.fields import EXAMPLE_ID, CreatedAt, ResponseModel, UtcTimestamp
from app.core.outbox.models import DeliveryStatus
from app.core.web.paging import CountedPage, CountedPageQuery
from app.notifications import rules
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
    subject: Annotated[
        str,
        Field(
            description="The subject line. Without the permission `tickets:view`, only the reference of the ticket.",
            examples=["[GROWFIN-42] Cannot export March"],
        ),
    ]
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
    def of(cls, row: LogEntry, permissions: Permissions) -> Self:
        """Make the response from an entry of the log, for a user with these permissions."""
        return cls(**_fields(row, permissions))


class NotificationDetails(Notification):
    """A notification with its text."""

    body: Annotated[
        str | None,
        Field(
            description="The text as plain text. Null without the permissions to read what it is about: `tickets:view` "
            "and `comments:view` for mails about tickets, `users:view` for others.",
            examples=["We fixed the export. Please try again."],
        ),
    ]
    body_html: Annotated[
        str | None, Field(description="The text as HTML; null if it has none, and where `body` is null.")
    ]

    @classmethod
    def of_content(cls, row: LogEntryContent, permissions: Permissions) -> Self:
        """Make the response from an entry of the log with its texts, for a user with these permissions."""
        return cls(**_fields(row, permissions), **_bodies(row, permissions))


def _fields(row: LogEntry, permissions: Permissions) -> dict[str, object]:
    shows_subject = rules.shows_subject(permissions, about_ticket=row.ticket_id is not None)
    return {
        "id": row.id,
        "channel": row.channel,
        "to": row.recipient,
        "subject": row.subject if shows_subject else rules.hide_title(row.subject),
        "status": row.status,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "ticket_id": row.ticket_id,
        "created_at": row.created_at,
        "sent_at": row.sent_at,
    }


def _bodies(row: LogEntryContent, permissions: Permissions) -> dict[str, str | None]:
    if not rules.shows_body(permissions, about_ticket=row.ticket_id is not None):
        return {"body": None, "body_html": None}
    html = row.body_html and hide_token(row.body_html, row.link)
    return {"body": hide_token(row.body_text, row.link), "body_html": html}


class NotificationPage(CountedPage[Notification]):
    """A page of notifications."""
