"""Assign the tickets that wait for an assignee, oldest first, when a user becomes available."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.roles.events import RoleUpdated
from app.accounts.users.events import UserBecameAvailable, UserSignedUp
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets.assignment.queries import list_available_users
from app.tickets.assignment.rules import ASSIGN, choose_assignee
from app.tickets.assignment.service import Reassignment, reassign
from app.tickets.models import WAITING, Ticket

TICKETS_PER_BATCH = 1000
RETRY_DELAY = timedelta(seconds=1)


async def assign_waiting(db: AsyncSession, org_id: UUID, now: datetime) -> int:
    """Assign waiting tickets to the available users, by the rotation; return how many, at most a batch.

    Skips tickets that other transactions have locked.
    """
    available = await list_available_users(db, org_id)
    if not available:
        return 0
    waiting = (
        await db.execute(
            select(Ticket.id, Ticket.number)
            .where(Ticket.org_id == org_id, text(WAITING))
            .order_by(Ticket.number)
            .limit(TICKETS_PER_BATCH)
            .with_for_update(key_share=True, skip_locked=True)
        )
    ).all()
    if waiting:
        await reassign(
            db, org_id, [Reassignment(row.id, choose_assignee(row.number, available), None) for row in waiting], now
        )
    return len(waiting)


async def assign_backlog_on_availability(db: AsyncSession, org_id: UUID, event: UserBecameAvailable) -> None:
    """Assign the waiting tickets when a user becomes available."""
    await _assign_backlog(db, org_id, event.user_id, event.at)


async def assign_backlog_on_sign_up(db: AsyncSession, org_id: UUID, event: UserSignedUp) -> None:
    """Assign the waiting tickets when a user signs up and can be assigned tickets at once."""
    user = await db.get_one(User, (org_id, event.user_id))  # no query: the session has read this user
    if user.receives_new_tickets:
        await _assign_backlog(db, org_id, event.user_id, event.at)


async def assign_backlog_on_role_update(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """Assign the waiting tickets when a change of a role could let its users work on tickets."""
    if event.could_enable_ticket_work:
        await _assign_backlog(db, org_id, event.role_id, event.at)


async def _assign_backlog(db: AsyncSession, org_id: UUID, subject_id: UUID, at: datetime) -> None:
    """Assign a first batch in the transaction of the event, and set a timer for the rest.

    The timer also finds tickets that are being opened now: their transactions do not see this change yet.
    """
    await db.flush()
    await assign_waiting(db, org_id, at)
    await timers.set_timers(db, org_id, subject_id, {ASSIGN: real_now()})


async def resume_assigning(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Assign a batch of waiting tickets on the timer `ASSIGN`.

    If tickets and available users are left, set the timer again.
    """
    tenant = await get_tenant(db, org_id)
    assigned = await assign_waiting(db, org_id, tenant.now())
    fired = await timers.delete_due(db, org_id, await timers.lock_available(db, org_id, due))
    if fired and (assigned == TICKETS_PER_BATCH or await _can_assign_more(db, org_id)):
        await timers.set_timers(db, org_id, fired[0].subject_id, {ASSIGN: real_now() + RETRY_DELAY})
    return fired


async def _can_assign_more(db: AsyncSession, org_id: UUID) -> bool:
    if not await list_available_users(db, org_id):
        return False
    return (await db.scalar(select(Ticket.id).where(Ticket.org_id == org_id, text(WAITING)).limit(1))) is not None
