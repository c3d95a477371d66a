"""Tickets: opening, accepting, answering, changing them. For a customer there are their own only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import Caller, ProductCaller, UserCaller
from app.access.errors import NotForCustomers
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.errors import BadInput, Conflict, FieldError
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import record
from app.core.security.access_tokens import InvalidToken
from app.tickets import queries, rules
from app.tickets.events import TicketAccepted, TicketAssigned, TicketResponded, TicketStatusChanged, TicketUpdated
from app.tickets.models import UNFINISHED, Ticket, TicketPriority, TicketResponse, TicketStatus
from app.tickets.queries import requester_scope
from app.tickets.rows import TicketRow
from app.tickets.rules import ASSIGN, AUTO_CLOSE, AUTO_CLOSE_REMINDER

if TYPE_CHECKING:
    from app.core.database.pool import Driver


# Compares the version that the caller has seen with the ticket's; raises `VersionConflict`.
Expectation = Callable[[int], None]


# What customers may change, of their own tickets; `org_id` changes nothing.
FOR_CUSTOMERS = frozenset({"title", "description", "priority", "org_id"})


class TicketChanges(TypedDict, total=False):
    """The fields of a ticket to change; `org_id` may only repeat the ticket's own."""

    title: str
    description: str
    priority: TicketPriority
    admin_id: UUID | None
    status: TicketStatus
    org_id: UUID


class TicketClosed(Conflict):
    """A closed ticket takes no answers, and nobody takes it on."""

    code = "ticket_closed"
    title = "The ticket is closed: reopen it first."


class OrgMismatch(BadInput):
    """A ticket stays in its organisation."""

    code = "org_mismatch"
    title = "A ticket cannot move to another organisation."


class AssigneeNotActive(BadInput):
    """Only an active admin or engineer of the organisation who may see and change tickets can be given any."""

    code = "assignee_not_active"
    title = "The assignee must be an active admin or engineer of the organisation who may see and change tickets."


class AlreadyAccepted(Conflict):
    """Somebody else has taken the ticket on."""

    code = "already_accepted"
    title = "Somebody else has accepted this ticket."


async def open_ticket(
    driver: Driver, caller: Caller, *, title: str, description: str, priority: TicketPriority, added_by: str | None
) -> TicketRow:
    """Open a ticket and give it to whose turn it is of those available; without one, it waits for one.

    Args:
        added_by: the requester's e-mail; the caller, where it is theirs or is left out.

    Raises:
        BadInput: a product names nobody, or a customer somebody else.
        InvalidToken: gone within the seconds for which a token's user is remembered.
    """
    actor = caller.actor
    new = queries.Opening(
        org_id=caller.org_id,
        id=new_id(),
        title=title,
        description=description,
        priority=priority,
        added_by=added_by,
        now=caller.now,
        real_now=real_now(),
        created_event=new_id(),
        assigned_event=new_id(),
        actor_type=actor.type.value,
        actor_id=actor.id,
        requester_id=_requester_account(caller, added_by),
    )
    row = await queries.open_ticket(driver, new)
    if row is None:
        raise InvalidToken
    return row


def _requester_account(caller: Caller, added_by: str | None) -> UUID | None:
    """Return the caller's id if they open a ticket of their own; `None` if `added_by` names the requester."""
    match caller:
        case ProductCaller():
            if added_by is None:
                raise _wrong("addedBy", "This is required.")
            return None
        case UserCaller(user=user):
            if added_by in {None, user.email}:
                return user.id
            if user.sees_own_only:
                raise _wrong("addedBy", "It must be your own e-mail: leave it out.")
            return None


def _wrong(field: str, message: str) -> BadInput:
    return BadInput(f"{field}: {message}", errors=[FieldError(field, message)])


async def respond(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, message: str, expect: Expectation
) -> TicketResponse:
    """Answer the requester, and start the countdown to auto-close. Not for customers.

    Raises:
        TicketNotFound, TicketClosed, VersionConflict
    """
    caller = await queries.with_locked_clock(db, caller)
    ticket = await queries.lock(db, caller.org_id, ticket_id, author_id=caller.user.id)
    expect(ticket.version)
    if ticket.status == TicketStatus.CLOSED:
        raise TicketClosed
    now = caller.now
    response = TicketResponse(
        org_id=caller.org_id,
        id=new_id(),
        ticket_id=ticket.id,
        author_id=caller.user.id,
        message=message,
        created_at=now,
    )
    db.add(response)
    ticket.touch()
    record(db, TicketResponded(at=now, actor=caller.actor, ticket_id=ticket.id, response_id=response.id))
    await _enter(db, caller, ticket, TicketStatus.RESPONDED)
    return response


async def change_status(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, status: TicketStatus, expect: Expectation
) -> None:
    """Let the ticket be in this status; where it is already, nothing changes. Not for customers.

    Raises:
        TicketNotFound, VersionConflict
    """
    await change(db, caller, ticket_id, {"status": status}, expect)


async def accept(db: AsyncSession, caller: UserCaller, ticket_id: UUID, expect: Expectation) -> None:
    """Take the ticket on: it is the caller's, and in progress if it was open. Once more changes nothing.

    Raises:
        TicketNotFound, VersionConflict, AlreadyAccepted
        TicketClosed: it is closed or resolved.
        AssigneeNotActive: the caller no longer is one who may be given tickets.
    """
    caller = await queries.with_locked_clock(db, caller)
    user = await queries.lock_assignee(db, caller.org_id, caller.user.id)
    if user is None:
        raise AssigneeNotActive
    ticket = await queries.lock(db, caller.org_id, ticket_id)
    expect(ticket.version)
    if ticket.accepted_at is not None:
        if ticket.admin_id != user.id:
            raise AlreadyAccepted
        return
    if ticket.status not in UNFINISHED:
        raise TicketClosed(f"The ticket is {ticket.status.lower()}: reopen it first.")
    ticket.touch()
    if ticket.admin_id != user.id:
        _assign(db, caller, ticket, user.id)
    ticket.accepted_at = caller.now
    record(db, TicketAccepted(at=caller.now, actor=caller.actor, ticket_id=ticket.id, admin_id=user.id))
    if ticket.status == TicketStatus.OPEN:
        await _enter(db, caller, ticket, TicketStatus.IN_PROGRESS)


async def change(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, changes: TicketChanges, expect: Expectation
) -> None:
    """Change any of `title`, `description`, `priority`, `admin_id` and `status`; the same values again change nothing.

    Raises:
        TicketNotFound, VersionConflict, AssigneeNotActive
        NotForCustomers: a customer would change more than `FOR_CUSTOMERS`.
        OrgMismatch: `org_id` is not the ticket's own.
    """
    if (own := requester_scope(caller)) and not changes.keys() <= FOR_CUSTOMERS:
        raise NotForCustomers("Of a ticket, customers change its title, description and priority only.")
    caller = await queries.with_locked_clock(db, caller)
    assignee = await _candidate(db, caller, changes.get("admin_id"))
    ticket = await queries.lock(db, caller.org_id, ticket_id, own)
    expect(ticket.version)
    if changes.get("org_id", ticket.org_id) != ticket.org_id:
        raise OrgMismatch(errors=[FieldError("orgId", OrgMismatch.title)])
    different = {name: value for name, value in changes.items() if name != "org_id" and getattr(ticket, name) != value}
    if not different:
        return
    if "admin_id" in different and changes["admin_id"] is not None and assignee is None:
        raise AssigneeNotActive(errors=[FieldError("adminId", AssigneeNotActive.title)])
    ticket.touch()
    _edit(db, caller, ticket, different)
    if "admin_id" in different:
        _assign(db, caller, ticket, changes["admin_id"])
    if "status" in different:
        await _enter(db, caller, ticket, changes["status"])


def _edit(db: AsyncSession, caller: UserCaller, ticket: Ticket, different: Mapping[str, object]) -> None:
    edited = {name: different[name] for name in ("title", "description", "priority") if name in different}
    if not edited:
        return
    changes: dict[str, Any] = {}
    for name, value in edited.items():
        # A description is long: that it changed must do.
        changes[name] = {} if name == "description" else {"from": getattr(ticket, name), "to": value}
        setattr(ticket, name, value)
    record(db, TicketUpdated(at=caller.now, actor=caller.actor, ticket_id=ticket.id, changes=changes))


async def _candidate(db: AsyncSession, caller: UserCaller, admin_id: UUID | None) -> User | None:
    return None if admin_id is None else await queries.lock_assignee(db, caller.org_id, admin_id)


def _assign(db: AsyncSession, caller: UserCaller, ticket: Ticket, admin_id: UUID | None) -> None:
    record(
        db,
        TicketAssigned(
            at=caller.now,
            actor=caller.actor,
            ticket_id=ticket.id,
            admin_id=admin_id,
            previous_admin_id=ticket.admin_id,
        ),
    )
    ticket.give_to(admin_id)


async def _enter(db: AsyncSession, caller: UserCaller, ticket: Ticket, status: TicketStatus) -> None:
    """Move to a status with all that follows from it: its times, its event, its timers."""
    now, before, was_waiting = caller.now, ticket.status, ticket.is_waiting
    closes_at = rules.auto_close_at(now, caller.tenant.auto_close_days)
    ticket.move_to(status, now, closes_at)
    if status != before:
        record(
            db,
            TicketStatusChanged(
                at=now, actor=caller.actor, ticket_id=ticket.id, from_status=TicketStatus(before), to_status=status
            ),
        )
    if status is TicketStatus.RESPONDED:
        await _start_countdown(db, caller, ticket.id, closes_at, rules.reminder_at(now, closes_at))
    elif before == TicketStatus.RESPONDED:
        await timers.cancel(db, caller.org_id, ticket.id, (AUTO_CLOSE, AUTO_CLOSE_REMINDER))
    if ticket.is_waiting and not was_waiting:  # reopened, perhaps while somebody is available already
        await timers.set_timers(db, caller.org_id, ticket.id, {ASSIGN: real_now()})


async def _start_countdown(
    db: AsyncSession, caller: UserCaller, ticket_id: UUID, closes_at: datetime, remind_at: datetime | None
) -> None:
    due = {AUTO_CLOSE: caller.tenant.real_time(closes_at)}
    if remind_at is None:
        await timers.cancel(db, caller.org_id, ticket_id, (AUTO_CLOSE_REMINDER,))
    else:
        due[AUTO_CLOSE_REMINDER] = caller.tenant.real_time(remind_at)
    await timers.set_timers(db, caller.org_id, ticket_id, due)
