"""Changes of status, whichever operation causes them.

Any status may follow any other, except:

* Customers cannot set the status: `CUSTOMER_FIELDS` in `changes.py`.
* A reply makes a ticket `RESPONDED`. A `CLOSED` ticket cannot be replied to: `Ticket.permits_replies`.
* Accepting makes an `OPEN` ticket `IN_PROGRESS` and keeps other statuses. A `RESOLVED` or `CLOSED` ticket cannot be
  accepted: `Ticket.permits_accepting`.
* Auto-close makes only `RESPONDED` tickets `CLOSED`, many at a time in SQL: `auto_close/statements.py`.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.events import record
from app.tickets.assignment.rules import ASSIGN
from app.tickets.auto_close.countdown import cancel_countdown, start_countdown
from app.tickets.auto_close.rules import auto_close_at
from app.tickets.events import TicketStatusChanged
from app.tickets.models import Ticket, TicketStatus


async def enter_status(db: AsyncSession, caller: UserCaller, ticket: Ticket, status: TicketStatus) -> None:
    """Set the status and times of a locked ticket, record the event, and set or cancel the timers."""
    now, before, was_waiting = caller.now, ticket.status, ticket.is_waiting
    closes_at = auto_close_at(now, caller.tenant.auto_close_days)
    ticket.move_to(status, now, closes_at)
    if status != before:
        record(
            db,
            TicketStatusChanged(at=now, actor=caller.actor, ticket_id=ticket.id, from_status=before, to_status=status),
        )
    if status is TicketStatus.RESPONDED:
        await start_countdown(db, caller, ticket.id, closes_at)
    elif before == TicketStatus.RESPONDED:
        await cancel_countdown(db, caller.org_id, ticket.id)
    if ticket.is_waiting and not was_waiting:  # it was reopened, and a user may be available already
        await timers.set_timers(db, caller.org_id, ticket.id, {ASSIGN: real_now()})
