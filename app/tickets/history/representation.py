"""Events as JSON: plain dictionaries in the shapes of `schemas.py`."""

from __future__ import annotations

from typing import Any

from app.core.outbox.events import ActorType
from app.tickets.history.queries import HistoryRow
from app.tickets.representation import represent_user


def represent_event(row: HistoryRow) -> dict[str, Any]:
    """Represent an event with its actor. Only users have a name."""
    actor: dict[str, Any] = {"type": row["actor_type"]}
    actor_id = row["actor_id"]
    if actor_id is not None and row["actor_type"] == ActorType.USER:
        actor |= represent_user(actor_id, row["email"], row["first_name"], row["last_name"])
    elif actor_id is not None:
        actor["id"] = actor_id
    return {
        "id": row["id"],
        "seq": row["seq"],
        "type": row["type"],
        "actor": actor,
        "data": row["data"],
        "createdAt": row["created_at"],
    }
