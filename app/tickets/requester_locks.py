"""Lock the requesters of tickets before other subscribers write about them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.outbox.events import Recorded
from app.requesters.models import Requester
from app.tickets.events import TicketEvent
from app.tickets.models import Ticket


async def lock_requesters(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketEvent]]) -> None:
    """Lock the requesters of these tickets, in the order of their ids.

    Each of the other subscribers locks some of them. Without this, they could deadlock with a request that changes two
    requesters, such as a merge.
    """
    ticket_ids = {one.event.ticket_id for one in recorded}
    requester_ids = select(Ticket.requester_id).where(Ticket.org_id == org_id, Ticket.id.in_(ticket_ids))
    await db.execute(
        select(Requester.id)
        .where(Requester.org_id == org_id, Requester.id.in_(requester_ids))
        .order_by(Requester.id)
        .with_for_update(key_share=True)
    )
