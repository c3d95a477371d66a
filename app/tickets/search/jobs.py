"""Tickets become findable within a second: in the worker, so that opening one costs no more."""

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
from app.tickets.events import TicketCreated, TicketResponded, TicketUpdated
from app.tickets.models import Ticket, TicketResponse
from app.tickets.search import service
from app.tickets.search.rules import INDEX_TICKETS

BATCH = 100
_NEWEST = 2**62
_WORDS_ARE_IN = frozenset({"title", "description", "addedBy"})


async def index_tickets(
    db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketCreated | TicketUpdated]]
) -> None:
    """Index new tickets, and those whose words may have changed."""
    await service.index(db, org_id, list({one.event.ticket_id for one in recorded if _has_new_words(one.event)}))


def _has_new_words(event: TicketCreated | TicketUpdated) -> bool:
    return isinstance(event, TicketCreated) or not _WORDS_ARE_IN.isdisjoint(event.changes)


async def index_answers(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketResponded]]) -> None:
    """Index the words of replies."""
    ids = [one.event.response_id for one in recorded]
    await _add_answers(db, org_id, TicketResponse.id.in_(ids))


async def index_the_rest(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """On `INDEX_TICKETS` of the organisation: all its tickets, newest first; of a ticket: that one and older ones.

    A batch at a time, and then a timer on the ticket to go on with. Meanwhile the relay waits, which writes the same
    rows.
    """
    await db.execute(select(Relay.last_seq).where(Relay.org_id == org_id).with_for_update(key_share=True))
    one = due[0]  # others stay due
    last = select(Ticket.number).where(Ticket.org_id == org_id, Ticket.id == one.subject_id).scalar_subquery()
    ids = (
        await db.scalars(
            select(Ticket.id)
            .where(Ticket.org_id == org_id, Ticket.number <= func.coalesce(last, _NEWEST))
            .order_by(Ticket.number.desc())
            .limit(BATCH + 1)
        )
    ).all()
    await service.index(db, org_id, ids[:BATCH])
    await _add_answers(db, org_id, TicketResponse.ticket_id.in_(ids[:BATCH]))
    claimed = await timers.claim(db, org_id, [one])
    for following in ids[BATCH:] if claimed else ():
        await timers.set_timers(db, org_id, following, {INDEX_TICKETS: real_now()})
    return claimed


async def _add_answers(db: AsyncSession, org_id: UUID, which: ColumnElement[bool]) -> None:
    messages: dict[UUID, list[str]] = defaultdict(list)
    rows = await db.execute(
        select(TicketResponse.ticket_id, TicketResponse.message)
        .where(TicketResponse.org_id == org_id, which)
        .order_by(TicketResponse.id)
    )
    for ticket_id, message in rows:
        messages[ticket_id].append(message)
    await service.add_answers(db, org_id, messages)
