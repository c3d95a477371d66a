"""Reads of a ticket's history."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast
from uuid import UUID

from app.core.outbox.events import ActorType

if TYPE_CHECKING:
    from app.core.database.pool import Driver

_HISTORY = f"""
    SELECT e.seq, e.id, e.type, e.data, e.created_at, e.actor_type, e.actor_id, p.email, p.first_name, p.last_name
    FROM events AS e
         LEFT JOIN users AS p ON p.org_id = $1 AND p.id = e.actor_id AND e.actor_type = '{ActorType.USER}'
    WHERE e.org_id = $1 AND e.subject_id = $2 AND e.seq > $3 ORDER BY e.seq LIMIT $4
"""  # noqa: S608 - constants


_COUNT = "SELECT count(*) FROM events WHERE org_id = $1 AND subject_id = $2"


class HistoryRow(TypedDict):
    """An event of a ticket. `email` and the names are null unless a user caused it."""

    seq: int
    id: UUID
    type: str
    data: dict[str, Any]
    created_at: datetime
    actor_type: str
    actor_id: UUID | None
    email: str | None
    first_name: str | None
    last_name: str | None


async def read_history(driver: Driver, org_id: UUID, ticket_id: UUID, after: int, limit: int) -> list[HistoryRow]:
    """Read the ticket's events after the number `after` with their actors, oldest first."""
    return cast("list[HistoryRow]", await driver.fetch(_HISTORY, org_id, ticket_id, after, limit))


async def count_history(driver: Driver, org_id: UUID, ticket_id: UUID) -> int:
    """Count the ticket's events."""
    return int(await driver.fetchval(_COUNT, org_id, ticket_id))
