"""Tickets as JSON: plain dictionaries of rows, since model layers doubled the cost of a list.

They have the shapes of the classes in `schemas.py`, which describe them in the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.access.tenant import Tenant
from app.tickets.references import reference_prefix
from app.tickets.rows import TicketRow


def represent_ticket(row: TicketRow, tenant: Tenant) -> dict[str, Any]:
    """Represent a ticket with its requester and its assignee (`Ticket`)."""
    return represent_tickets([row], tenant)[0]


def represent_tickets(rows: Sequence[TicketRow], tenant: Tenant) -> list[dict[str, Any]]:
    """Represent tickets with their requesters and assignees (`Ticket`)."""
    prefix = reference_prefix(tenant)
    return [
        {
            "id": row["id"],
            "number": row["number"],
            "reference": f"{prefix}-{row['number']}",
            "orgId": row["org_id"],
            "title": row["title"],
            "description": row["description"],
            "status": row["status"],
            "priority": row["priority"],
            "requester": {
                "id": row["requester_id"],
                "email": row["requester_email"],
                "name": row["requester_name"],
                "userId": row["requester_user_id"],
            },
            "assigneeId": (assignee_id := row["assignee_id"]),
            "assignee": assignee_id
            and represent_user(
                assignee_id, row["assignee_email"], row["assignee_first_name"], row["assignee_last_name"]
            ),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "respondedAt": row["responded_at"],
            "acceptedAt": row["accepted_at"],
            "closedAt": row["closed_at"],
            "autoCloseAt": row["auto_close_at"],
            "version": row["version"],
            "addedBy": row["requester_email"],
            "adminId": assignee_id,
        }
        for row in rows
    ]


def represent_user(user_id: UUID, email: str | None, first_name: str | None, last_name: str | None) -> dict[str, Any]:
    """Represent a user as others see them (`UserReference`). Rows of outer joins have nullable names."""
    return {"id": user_id, "email": email, "firstName": first_name, "lastName": last_name}
