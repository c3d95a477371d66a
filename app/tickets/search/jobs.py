"""Add tickets and replies to the search index. The worker does it within a second, so that requests stay fast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.events import Recorded
from app.core.outbox.models import Relay
from app.core.outbox.timers import Due
from app.tickets.comments.models import Comment
from app.tickets.events import TicketCreated, TicketResponded, TicketUpdated
from app.tickets.models import Ticket
from app.tickets.search import service
from app.tickets.search.rules import INDEX_TICKETS

TICKETS_PER_BATCH = 100
_MAX_NUMBER = 2**62
_INDEXED_FIELDS = frozenset({"title", "description", "requester"})


async def index_tickets(
    db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketCreated | TicketUpdated]]
) -> None:
    """Index new tickets, and tickets whose indexed fields changed."""
    await service.index(db, org_id, list({one.event.ticket_id for one in recorded if _has_new_terms(one.event)}))


def _has_new_terms(event: TicketCreated | TicketUpdated) -> bool:
    return isinstance(event, TicketCreated) or not _INDEXED_FIELDS.isdisjoint(event.changes)


async def index_replies(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketResponded]]) -> None:
    """Index replies."""
    ids = [one.event.comment_id for one in recorded]
    await _index_replies_where(db, org_id, Comment.id.in_(ids))


async def resume_indexing(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Index a batch of tickets on the timer `INDEX_TICKETS`, newest first.

    If the timer's subject is the organisation, start with the newest ticket. If it is a ticket, start with that one.
    Set a timer on the next ticket if there are more. The relay writes the same rows and is blocked meanwhile.
    """
    await db.execute(select(Relay.last_seq).where(Relay.org_id == org_id).with_for_update(key_share=True))
    timer = due[0]  # further timers stay due
    start = select(Ticket.number).where(Ticket.org_id == org_id, Ticket.id == timer.subject_id).scalar_subquery()
    ids = (
        await db.scalars(
            select(Ticket.id)
            .where(Ticket.org_id == org_id, Ticket.number <= func.coalesce(start, _MAX_NUMBER))
            .order_by(Ticket.number.desc())
            .limit(TICKETS_PER_BATCH + 1)
        )
    ).all()
    await service.index(db, org_id, ids[:TICKETS_PER_BATCH])
    await _index_replies_where(db, org_id, Comment.ticket_id.in_(ids[:TICKETS_PER_BATCH]))
    fired = await timers.delete_due(db, org_id, [timer])
    has_more = len(ids) > TICKETS_PER_BATCH
    if fired and has_more:
        await timers.set_timers(db, org_id, ids[TICKETS_PER_BATCH], {INDEX_TICKETS: real_now()})
    return fired


async def _index_replies_where(db: AsyncSession, org_id: UUID, condition: ColumnElement[bool]) -> None:
    messages: dict[UUID, list[str]] = defaultdict(list)
    rows = await db.execute(
        select(Comment.ticket_id, Comment.message).where(Comment.org_id == org_id, condition).order_by(Comment.id)
    )
    for ticket_id, message in rows:
        messages[ticket_id].append(message)
    await service.add_replies(db, org_id, messages)
