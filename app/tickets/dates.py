"""Set the times of rows that follow from events: see `app/core/outbox/numbering.py`.

A ticket's `updated_at` is the time of its last change, so a client that polls by it misses no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.events import Recorded
from app.tickets.comments.models import Comment
from app.tickets.events import TicketChangeEvent, TicketResponded
from app.tickets.models import Ticket

_SET_TICKET_TIMES = text(
    """
    UPDATE tickets SET updated_at = coalesce((:times)[array_position(:ids, id)])
    WHERE org_id = :org_id AND id = ANY(:ids)
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("times", type_=ARRAY(TIMESTAMP(timezone=True))),
)


async def set_ticket_times(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketChangeEvent]]) -> None:
    """Set `updated_at` of changed tickets: on the object if the session has loaded it, else with a statement."""
    times: dict[UUID, datetime] = {one.event.ticket_id: one.event.at for one in recorded}
    for ticket_id in list(times):
        ticket = db.sync_session.identity_map.get(db.identity_key(Ticket, (org_id, ticket_id)))
        if ticket is not None:
            ticket.updated_at = times.pop(ticket_id)
    if times:
        await db.execute(_SET_TICKET_TIMES, {"org_id": org_id, "ids": list(times), "times": list(times.values())})


async def set_comment_times(db: AsyncSession, _org_id: UUID, recorded: Sequence[Recorded[TicketResponded]]) -> None:
    """Set `created_at` of the comments that this transaction adds."""
    times: dict[UUID, datetime] = {one.event.comment_id: one.event.at for one in recorded}
    for row in db:
        if isinstance(row, Comment) and row.id in times:
            row.created_at = times[row.id]
