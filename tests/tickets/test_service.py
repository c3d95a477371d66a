"""What the services do to rows, in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.callers import UserCaller
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus as UserStatus
from app.core.database.pool import run_before_commit
from app.core.errors import VersionConflict
from app.core.outbox.models import EventRow
from app.tickets import service
from app.tickets.assignment.backlog import assign_waiting
from app.tickets.changes import TicketChanges
from app.tickets.comments import service as comments
from app.tickets.comments.models import Comment
from app.tickets.errors import AssigneeNotActive, OrgMismatch, TicketClosed, TicketNotFound
from app.tickets.models import Ticket, TicketStatus
from tests.tickets.conftest import NOW
from tests.tickets.rows import add_ticket, read_timers


def any_version(_version: int) -> None:
    """Accept any version."""


def stale(_version: int) -> None:
    raise VersionConflict


async def types_of(db: AsyncSession, ticket: Ticket) -> list[str]:
    await run_before_commit(db)
    statement = select(EventRow.type).where(EventRow.org_id == ticket.org_id, EventRow.subject_id == ticket.id)
    return list(await db.scalars(statement.order_by(EventRow.seq)))


async def test_a_reply_makes_the_ticket_responded_and_starts_the_countdown(
    db: AsyncSession, caller: UserCaller
) -> None:
    ticket = await add_ticket(db, caller)

    response = await comments.respond(db, caller, ticket.id, "Fixed.", any_version)

    assert (response.message, response.author_id) == ("Fixed.", caller.user.id)
    assert ticket.status == TicketStatus.RESPONDED
    assert (ticket.responded_at, ticket.auto_close_at) == (NOW, NOW + timedelta(days=30))
    assert await read_timers(db, caller.org_id, ticket.id) == {
        "AUTO_CLOSE": NOW + timedelta(days=30),
        "AUTO_CLOSE_REMINDER": NOW + timedelta(days=27),
    }
    assert await types_of(db, ticket) == ["ticket.responded", "ticket.status_changed"]


async def test_replying_again_restarts_the_countdown_and_is_no_change_of_status(
    db: AsyncSession, caller: UserCaller
) -> None:
    ticket = await add_ticket(db, caller)
    await comments.respond(db, caller, ticket.id, "Fixed.", any_version)
    later = replace(caller, now=NOW + timedelta(days=5))

    await comments.respond(db, later, ticket.id, "Now it really is.", any_version)

    assert ticket.responded_at == later.now
    assert await read_timers(db, caller.org_id, ticket.id) == {
        "AUTO_CLOSE": NOW + timedelta(days=35),
        "AUTO_CLOSE_REMINDER": NOW + timedelta(days=32),
    }
    assert await types_of(db, ticket) == ["ticket.responded", "ticket.status_changed", "ticket.responded"]


@pytest.mark.parametrize("days", [1, 2, 3])
async def test_a_short_countdown_has_no_reminder_even_if_the_previous_one_had(
    db: AsyncSession, caller: UserCaller, days: int
) -> None:
    ticket = await add_ticket(db, caller)
    await comments.respond(db, caller, ticket.id, "Fixed.", any_version)
    hasty = replace(caller, tenant=replace(caller.tenant, auto_close_days=days))

    await comments.respond(db, hasty, ticket.id, "Now it really is.", any_version)

    assert await read_timers(db, caller.org_id, ticket.id) == {"AUTO_CLOSE": NOW + timedelta(days=days)}


async def test_a_closed_ticket_cannot_be_replied_to(db: AsyncSession, caller: UserCaller) -> None:
    ticket = await add_ticket(db, caller, status=TicketStatus.CLOSED, closed_at=NOW)

    with pytest.raises(TicketClosed):
        await comments.respond(db, caller, ticket.id, "Hello", any_version)

    assert await db.scalar(select(func.count()).where(Comment.ticket_id == ticket.id)) == 0
    assert await types_of(db, ticket) == []


@pytest.mark.parametrize("left_for", [status for status in TicketStatus if status is not TicketStatus.RESPONDED])
async def test_leaving_responded_cancels_the_countdown_and_keeps_the_time_of_the_reply(
    db: AsyncSession, caller: UserCaller, left_for: TicketStatus
) -> None:
    ticket = await add_ticket(db, caller)
    await service.change_ticket(db, caller, ticket.id, TicketChanges(status=TicketStatus.RESPONDED), any_version)
    assert await read_timers(db, caller.org_id, ticket.id)

    await service.change_ticket(db, caller, ticket.id, TicketChanges(status=left_for), any_version)

    assert await read_timers(db, caller.org_id, ticket.id) == {}
    assert (ticket.auto_close_at, ticket.responded_at) == (None, NOW)


@pytest.mark.parametrize("before", list(TicketStatus))
@pytest.mark.parametrize("after", list(TicketStatus))
async def test_only_closed_tickets_have_a_closing_time_and_only_responded_ones_a_countdown(
    db: AsyncSession, caller: UserCaller, before: TicketStatus, after: TicketStatus
) -> None:
    ticket = await add_ticket(db, caller, assignee_id=caller.user.id)
    await service.change_ticket(db, caller, ticket.id, TicketChanges(status=before), any_version)
    version = ticket.version

    await service.change_ticket(
        db, replace(caller, now=NOW + timedelta(hours=1)), ticket.id, TicketChanges(status=after), any_version
    )

    assert ticket.status == after
    assert (ticket.closed_at is not None) == (after is TicketStatus.CLOSED)
    assert (ticket.auto_close_at is not None) == (after is TicketStatus.RESPONDED)
    assert set(await read_timers(db, caller.org_id, ticket.id)) == (
        {"AUTO_CLOSE", "AUTO_CLOSE_REMINDER"} if after is TicketStatus.RESPONDED else set()
    )
    assert ticket.version == version + (before is not after)


async def test_a_version_conflict_changes_nothing(db: AsyncSession, caller: UserCaller) -> None:
    ticket = await add_ticket(db, caller)

    with pytest.raises(VersionConflict):
        await service.change_ticket(db, caller, ticket.id, TicketChanges(title="Another"), stale)

    assert (ticket.title, ticket.version) == ("It broke", 1)


async def test_a_ticket_stays_in_its_organisation(db: AsyncSession, caller: UserCaller) -> None:
    ticket = await add_ticket(db, caller)

    await service.change_ticket(db, caller, ticket.id, TicketChanges(org_id=caller.org_id), any_version)
    with pytest.raises(OrgMismatch):
        await service.change_ticket(
            db, caller, ticket.id, TicketChanges(org_id=UUID(int=1), title="Another"), any_version
        )

    assert (ticket.title, ticket.version) == ("It broke", 1)


async def test_a_suspended_admin_cannot_be_the_assignee(db: AsyncSession, caller: UserCaller) -> None:
    ticket = await add_ticket(db, caller)
    user = await db.get_one(User, (caller.org_id, caller.user.id))
    user.status = UserStatus.SUSPENDED

    with pytest.raises(AssigneeNotActive):
        await service.change_ticket(db, caller, ticket.id, TicketChanges(assignee_id=user.id), any_version)


async def test_an_unknown_ticket_is_not_found(db: AsyncSession, caller: UserCaller) -> None:
    with pytest.raises(TicketNotFound):
        await comments.respond(db, caller, UUID(int=1), "Hello", any_version)


async def test_unfinished_tickets_without_an_assignee_are_assigned(db: AsyncSession, caller: UserCaller) -> None:
    tickets = {status: await add_ticket(db, caller, status=status) for status in TicketStatus}

    assert await assign_waiting(db, caller.org_id, NOW) == 3

    for ticket in tickets.values():
        await db.refresh(ticket)
    given = {status for status, ticket in tickets.items() if ticket.assignee_id == caller.user.id}
    assert given == {TicketStatus.OPEN, TicketStatus.IN_PROGRESS, TicketStatus.RESPONDED}
    assert await types_of(db, tickets[TicketStatus.OPEN]) == ["ticket.assigned"]


async def test_tickets_keep_waiting_without_available_users(db: AsyncSession, caller: UserCaller) -> None:
    ticket = await add_ticket(db, caller)
    user = await db.get_one(User, (caller.org_id, caller.user.id))
    user.available = False
    await db.flush()

    assert await assign_waiting(db, caller.org_id, NOW) == 0

    await db.refresh(ticket)
    assert ticket.assignee_id is None
