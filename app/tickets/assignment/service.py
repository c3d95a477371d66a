"""Assign tickets, and accept them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.core.outbox.events import SYSTEM, record
from app.tickets.assignment.queries import lock_assignee
from app.tickets.assignment.statements import REASSIGN
from app.tickets.errors import AlreadyAccepted, AssigneeNotEligible, TicketClosed
from app.tickets.events import TicketAccepted, TicketAssigned
from app.tickets.models import Ticket, TicketStatus
from app.tickets.queries import VersionCheck, lock_ticket, with_locked_clock
from app.tickets.status_changes import enter_status


async def accept(db: AsyncSession, caller: UserCaller, ticket_id: UUID, check_version: VersionCheck) -> None:
    """Make the caller the assignee who has accepted the ticket; an open ticket becomes `IN_PROGRESS`.

    Accepting a ticket again changes nothing.

    Raises:
        TicketNotFound, VersionConflict, AlreadyAccepted
        TicketClosed: it is closed or resolved.
        AssigneeNotEligible: the caller may no longer be assigned tickets.
    """
    caller = await with_locked_clock(db, caller)
    user = await lock_assignee(db, caller.org_id, caller.user.id)
    if user is None:
        raise AssigneeNotEligible
    ticket = await lock_ticket(db, caller.org_id, ticket_id)
    check_version(ticket.version)
    if ticket.accepted_at is not None:
        if ticket.assignee_id != user.id:
            raise AlreadyAccepted
        return
    if not ticket.permits_accepting:
        raise TicketClosed(f"The ticket is {ticket.status.lower()}. Reopen it first.")
    ticket.count_change()
    if ticket.assignee_id != user.id:
        assign(db, caller, ticket, user.id)
    ticket.accepted_at = caller.now
    record(db, TicketAccepted(at=caller.now, actor=caller.actor, ticket_id=ticket.id, assignee_id=user.id))
    if ticket.status == TicketStatus.OPEN:
        await enter_status(db, caller, ticket, TicketStatus.IN_PROGRESS)


def assign(db: AsyncSession, caller: UserCaller, ticket: Ticket, assignee_id: UUID | None) -> None:
    """Replace or remove the assignee of a locked ticket, for a user."""
    record(
        db,
        TicketAssigned(
            at=caller.now,
            actor=caller.actor,
            ticket_id=ticket.id,
            assignee_id=assignee_id,
            previous_assignee_id=ticket.assignee_id,
        ),
    )
    ticket.assign(assignee_id)


@dataclass(frozen=True)
class Reassignment:
    """A change of a ticket's assignee; `None` stands for no assignee."""

    ticket_id: UUID
    assignee_id: UUID | None
    previous_assignee_id: UUID | None


async def reassign(db: AsyncSession, org_id: UUID, reassignments: Sequence[Reassignment], at: datetime) -> None:
    """Change the assignees of locked tickets, for Tessera itself. The time is the organisation's."""
    await db.execute(
        REASSIGN,
        {
            "org_id": org_id,
            "ids": [one.ticket_id for one in reassignments],
            "assignees": [one.assignee_id for one in reassignments],
        },
    )
    record(
        db,
        *(
            TicketAssigned(
                at=at,
                actor=SYSTEM,
                ticket_id=one.ticket_id,
                assignee_id=one.assignee_id,
                previous_assignee_id=one.previous_assignee_id,
            )
            for one in reassignments
        ),
    )
