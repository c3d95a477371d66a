"""Write comments on tickets."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.core.ids import new_id
from app.core.outbox.events import record
from app.tickets.comments.models import Comment
from app.tickets.errors import TicketClosed
from app.tickets.events import TicketResponded
from app.tickets.models import TicketStatus
from app.tickets.queries import VersionCheck, lock_ticket, with_locked_clock
from app.tickets.status_changes import enter_status


async def respond(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, message: str, check_version: VersionCheck
) -> Comment:
    """Reply to the requester, and start the countdown to auto-close.

    Raises:
        TicketNotFound, TicketClosed, VersionConflict
    """
    caller = await with_locked_clock(db, caller)
    ticket = await lock_ticket(db, caller.org_id, ticket_id)
    check_version(ticket.version)
    if not ticket.permits_replies:
        raise TicketClosed
    comment = Comment(
        org_id=caller.org_id,
        id=new_id(),
        ticket_id=ticket.id,
        author_id=caller.user.id,
        message=message,
        created_at=caller.now,
    )
    db.add(comment)
    ticket.count_change()
    record(db, TicketResponded(at=caller.now, actor=caller.actor, ticket_id=ticket.id, comment_id=comment.id))
    await enter_status(db, caller, ticket, TicketStatus.RESPONDED)
    return comment
