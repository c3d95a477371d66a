"""Unassign the unfinished tickets of users who may no longer work on tickets, so that others get them.

Editing a role can affect very many users. One timer on the role then drives the batches, and a batch mixes tickets of
all users with the role.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, any_, literal, not_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.roles.events import RoleUpdated
from app.accounts.users.events import UserErased, UserPermissionsChanged, UserRoleChanged, UserSuspended
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets.assignment.rules import ASSIGN
from app.tickets.assignment.service import Reassignment, reassign
from app.tickets.models import UNFINISHED, Ticket
from app.tickets.user_changes.batches import (
    IDS,
    RETRY_DELAY,
    TICKETS_PER_BATCH,
    BatchedChange,
    UserRow,
    resume_batches,
    set_batch_timers,
)

# Kinds of timers: on a user, and on a role. The late ones find tickets that were assigned at the same time.
UNASSIGN_TICKETS: Final = "UNASSIGN_TICKETS"
UNASSIGN_LATE_TICKETS: Final = "UNASSIGN_LATE_TICKETS"
UNASSIGN_TICKETS_OF_ROLE: Final = "UNASSIGN_TICKETS_OF_ROLE"
UNASSIGN_LATE_TICKETS_OF_ROLE: Final = "UNASSIGN_LATE_TICKETS_OF_ROLE"


def _unfinished_condition(user: UserRow) -> ColumnElement[bool] | None:
    return None if user.is_assignable else and_(Ticket.assignee_id == user.id, Ticket.status.in_(UNFINISHED))


async def _unassign(db: AsyncSession, org_id: UUID, user: UserRow, ids: Sequence[UUID], at: datetime) -> None:
    await _unassign_all(db, org_id, user.id, dict.fromkeys(ids, user.id), at)


async def _unassign_all(
    db: AsyncSession, org_id: UUID, subject_id: UUID, assignees: Mapping[UUID, UUID | None], at: datetime
) -> None:
    """Remove the assignees of tickets, and set a timer on the subject that assigns them to available users."""
    reassignments = [Reassignment(ticket_id, None, assignee_id) for ticket_id, assignee_id in assignees.items()]
    await reassign(db, org_id, reassignments, at)
    await timers.set_timers(db, org_id, subject_id, {ASSIGN: real_now()})


_UNASSIGNING = BatchedChange(_unfinished_condition, _unassign)


async def unassign_tickets(
    db: AsyncSession, org_id: UUID, event: UserSuspended | UserErased | UserRoleChanged | UserPermissionsChanged
) -> None:
    """Set the timers that unassign the unfinished tickets of a user, if they may no longer be assigned any."""
    await db.flush()
    is_assignable = select(User.is_assignable).where(User.org_id == org_id, User.id == event.user_id)
    if not await db.scalar(is_assignable):
        await set_batch_timers(db, org_id, event.user_id, UNASSIGN_TICKETS, UNASSIGN_LATE_TICKETS)


async def resume_unassigning(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Unassign a batch on a timer of the user, unless the user may be assigned tickets again."""
    return await resume_batches(db, org_id, due, _UNASSIGNING)


async def unassign_tickets_of_role(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """Set the timers that unassign the unfinished tickets of a role's users, if they may no longer be assigned any."""
    if event.could_disable_ticket_work:
        await set_batch_timers(db, org_id, event.role_id, UNASSIGN_TICKETS_OF_ROLE, UNASSIGN_LATE_TICKETS_OF_ROLE)


async def resume_unassigning_of_role(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Unassign a batch on a timer of a role, for one role.

    Users who have left the role meanwhile are skipped: their tickets were unassigned when they left.
    """
    tenant = await get_tenant(db, org_id)
    role_id = due[0].subject_id
    has_more = await _unassign_batch_of_role(db, org_id, role_id, tenant.now())
    fired = await timers.delete_due(db, org_id, await timers.lock_available(db, org_id, due[:1]))
    if fired and has_more:
        await timers.set_timers(db, org_id, role_id, {due[0].kind: real_now() + RETRY_DELAY})
    return fired


async def _unassign_batch_of_role(db: AsyncSession, org_id: UUID, role_id: UUID, at: datetime) -> bool:
    """Unassign at most a batch of unlocked tickets of unlocked users; return whether there are more."""
    ineligible_users_condition = and_(User.org_id == org_id, User.role_id == role_id, not_(User.is_assignable))
    user_ids = (await db.scalars(select(User.id).where(ineligible_users_condition))).all()
    tickets_condition = _unfinished_of_users_condition(org_id, user_ids)
    assignee_ids = set(await db.scalars(select(Ticket.assignee_id).where(tickets_condition).limit(TICKETS_PER_BATCH)))
    if not assignee_ids:
        return False
    assignees_condition = User.id == any_(literal(list(assignee_ids), IDS))
    users = select(User.id).where(ineligible_users_condition, assignees_condition).order_by(User.id)
    locked_ids = (await db.scalars(users.with_for_update(read=True, skip_locked=True))).all()
    batch = select(Ticket.id, Ticket.assignee_id).where(_unfinished_of_users_condition(org_id, locked_ids))
    ordered_batch = batch.order_by(Ticket.created_at, Ticket.number).limit(TICKETS_PER_BATCH)
    rows = (await db.execute(ordered_batch.with_for_update(key_share=True, skip_locked=True))).all()
    if rows:
        await _unassign_all(db, org_id, role_id, {row.id: row.assignee_id for row in rows}, at)
    return await db.scalar(select(Ticket.id).where(tickets_condition).limit(1)) is not None


def _unfinished_of_users_condition(org_id: UUID, user_ids: Sequence[UUID]) -> ColumnElement[bool]:
    # An array, not a join: a join gets a bad plan while the planner's statistics lag (see `assignment/statements.py`).
    users_condition = Ticket.assignee_id == any_(literal(user_ids, IDS))
    return and_(Ticket.org_id == org_id, users_condition, Ticket.status.in_(UNFINISHED))
