"""The rows that hot statements return.

The driver returns its own records, which are used as they are: these types cost nothing at run time. A status and its
like are plain strings in them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID


class TicketRow(TypedDict):
    """A ticket with its assignee. Without one, `admin_id` and the names are null."""

    id: UUID
    number: int
    org_id: UUID
    title: str
    description: str
    status: str
    priority: str
    added_by: str
    requester_id: UUID | None
    admin_id: UUID | None
    created_at: datetime
    updated_at: datetime
    responded_at: datetime | None
    closed_at: datetime | None
    auto_close_at: datetime | None
    accepted_at: datetime | None
    version: int
    admin_email: str
    admin_first_name: str
    admin_last_name: str


class ResponseRow(TypedDict):
    """A reply to a ticket with its author."""

    id: UUID
    message: str
    created_at: datetime
    author_id: UUID
    email: str
    first_name: str
    last_name: str


class HistoryRow(TypedDict):
    """An event of a ticket. `email` and the names are null unless a user caused it."""

    seq: int
    id: UUID
    type: str
    data: dict[str, Any]
    created_at: datetime
    actor_type: str
    actor_id: UUID | None
    email: str
    first_name: str
    last_name: str


class ScheduleRow(TypedDict):
    """A timer of a ticket. `due_at` is real time."""

    responded_at: datetime  # of the ticket
    kind: str
    due_at: datetime
