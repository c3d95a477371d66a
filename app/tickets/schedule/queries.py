"""Reads of what will happen to a ticket automatically."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, cast
from uuid import UUID

from app.tickets.errors import TicketNotFound

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# One statement, so that the ticket and its timers are of the same moment.
_SCHEDULE = """
    SELECT t.responded_at, timers.kind, timers.due_at
    FROM tickets AS t LEFT JOIN timers ON timers.org_id = $1 AND timers.subject_id = t.id
    WHERE t.org_id = $1 AND t.id = $2
"""


class ScheduleRow(TypedDict):
    """A timer of a ticket. `due_at` is real time."""

    responded_at: datetime  # of the ticket
    kind: str
    due_at: datetime


async def read_schedule(
    driver: Driver, org_id: UUID, ticket_id: UUID, account_id: UUID | None = None
) -> list[ScheduleRow]:
    """Read the timers of a ticket, next first.

    Args:
        account_id: if given, the ticket's requester must have this account.

    Raises:
        TicketNotFound: also if the ticket belongs to another requester.
    """
    if account_id is None:
        rows = await driver.fetch(f"{_SCHEDULE} ORDER BY timers.due_at", org_id, ticket_id)
    else:
        condition = "AND t.requester_id IN (SELECT id FROM requesters WHERE org_id = $1 AND user_id = $3)"
        rows = await driver.fetch(f"{_SCHEDULE} {condition} ORDER BY timers.due_at", org_id, ticket_id, account_id)
    if not rows:
        raise TicketNotFound
    return [cast("ScheduleRow", row) for row in rows if row["kind"] is not None]
