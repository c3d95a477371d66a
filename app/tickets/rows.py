"""The row of a ticket as the statements without the ORM return it (`queries.py`, `statements.py`).

The driver returns its own records, which are used as they are: a `TypedDict` costs nothing at run time. Statuses and
priorities are plain strings in them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict
from uuid import UUID


class TicketRow(TypedDict):
    """A ticket with its requester and its assignee. Without an assignee, the fields of the assignee are null."""

    id: UUID
    number: int
    org_id: UUID
    title: str
    description: str
    status: str
    priority: str
    requester_id: UUID
    requester_email: str
    requester_name: str | None
    requester_user_id: UUID | None
    requester_was_changed: bool  # since its first ticket
    assignee_id: UUID | None
    created_at: datetime
    updated_at: datetime
    responded_at: datetime | None
    closed_at: datetime | None
    auto_close_at: datetime | None
    accepted_at: datetime | None
    version: int
    assignee_email: str | None
    assignee_first_name: str | None
    assignee_last_name: str | None
