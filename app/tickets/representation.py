"""Rows as they are answered: plain dictionaries, turned into JSON once, since model layers doubled a list's cost.

They have the shapes of `Ticket` and its neighbours in `schemas.py`, which describe them in the documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app.access.tenant import Tenant, reference_prefix
from app.tickets.rows import HistoryRow, ResponseRow, TicketRow


def ticket(row: TicketRow, tenant: Tenant) -> dict[str, Any]:
    """A ticket with its assignee (`Ticket`)."""
    return tickets([row], tenant)[0]


def tickets(rows: Sequence[TicketRow], tenant: Tenant) -> list[dict[str, Any]]:
    """Tickets with their assignees (`Ticket`)."""
    prefix = reference_prefix(tenant.domain)
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
            "addedBy": row["added_by"],
            "requesterId": row["requester_id"],
            "adminId": row["admin_id"],
            "admin": row["admin_id"]
            and user(row["admin_id"], row["admin_email"], row["admin_first_name"], row["admin_last_name"]),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "respondedAt": row["responded_at"],
            "closedAt": row["closed_at"],
            "autoCloseAt": row["auto_close_at"],
            "acceptedAt": row["accepted_at"],
            "version": row["version"],
        }
        for row in rows
    ]


def response(row: ResponseRow) -> dict[str, Any]:
    """An answer to the requester (`TicketReply`)."""
    return {
        "id": row["id"],
        "message": row["message"],
        "author": user(row["author_id"], row["email"], row["first_name"], row["last_name"]),
        "createdAt": row["created_at"],
    }


def event(row: HistoryRow) -> dict[str, Any]:
    """Represent an event of a ticket's history (`event_schemas.py`); only a user has a name."""
    actor: dict[str, Any] = {"type": row["actor_type"]}
    actor_id = row["actor_id"]
    if actor_id is not None and row["actor_type"] == "USER":
        actor |= user(actor_id, row["email"], row["first_name"], row["last_name"])
    elif actor_id is not None:
        actor["id"] = actor_id
    return {
        "id": row["id"],
        "type": row["type"],
        "actor": actor,
        "data": row["data"],
        "createdAt": row["created_at"],
    }


def user(user_id: UUID, email: str, first_name: str, last_name: str) -> dict[str, Any]:
    """Somebody, as others see them (`UserReference`)."""
    return {"id": user_id, "email": email, "firstName": first_name, "lastName": last_name}
