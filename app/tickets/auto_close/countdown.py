"""The countdown to auto-close: two timers of a ticket that is `RESPONDED`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.core.outbox import timers
from app.tickets.auto_close.rules import AUTO_CLOSE, AUTO_CLOSE_REMINDER, reminder_at


async def start_countdown(db: AsyncSession, caller: UserCaller, ticket_id: UUID, closes_at: datetime) -> None:
    """Set the timers of a reply, and replace the timers of an earlier reply."""
    due = {AUTO_CLOSE: caller.tenant.real_time(closes_at)}
    remind_at = reminder_at(caller.now, closes_at)
    if remind_at is None:
        await timers.cancel(db, caller.org_id, ticket_id, (AUTO_CLOSE_REMINDER,))
    else:
        due[AUTO_CLOSE_REMINDER] = caller.tenant.real_time(remind_at)
    await timers.set_timers(db, caller.org_id, ticket_id, due)


async def cancel_countdown(db: AsyncSession, org_id: UUID, ticket_id: UUID) -> None:
    """Cancel both timers of a ticket."""
    await timers.cancel(db, org_id, ticket_id, (AUTO_CLOSE, AUTO_CLOSE_REMINDER))
