"""Lock the users and requesters that other subscribers write about, before they do."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.core.outbox.events import Recorded
from app.requesters.models import Requester
from app.tickets.comments.models import Comment
from app.tickets.events import TicketEvent, TicketResponded
from app.tickets.models import Ticket


async def lock_requesters(db: AsyncSession, org_id: UUID, recorded: Sequence[Recorded[TicketEvent]]) -> None:
    """Lock the authors of these replies, then the requesters of these tickets, each in the order of their ids.

    Each of the other subscribers locks some of them. Without this, they could deadlock with a request that changes two
    requesters, such as a merge, or that locks users before requesters, such as the erasure of a user.
    """
    comment_ids = [one.event.comment_id for one in recorded if isinstance(one.event, TicketResponded)]
    if comment_ids:
        author_ids = select(Comment.author_id).where(Comment.org_id == org_id, Comment.id.in_(comment_ids))
        authors = select(User.id).where(User.org_id == org_id, User.id.in_(author_ids)).order_by(User.id)
        await db.execute(authors.with_for_update(read=True))
    ticket_ids = {one.event.ticket_id for one in recorded}
    requester_ids = select(Ticket.requester_id).where(Ticket.org_id == org_id, Ticket.id.in_(ticket_ids))
    await db.execute(
        select(Requester.id)
        .where(Requester.org_id == org_id, Requester.id.in_(requester_ids))
        .order_by(Requester.id)
        .with_for_update(key_share=True)
    )
