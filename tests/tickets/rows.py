"""Read and write rows of tickets, timers and events directly."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import wiring
from app.access.callers import UserCaller
from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.models import EventRow, Relay, Timer
from app.requesters import matching
from app.requesters.models import Requester
from app.requesters.service import RequesterDetails
from app.tickets.models import WAITING, Ticket, TicketStatus
from tests.organisation_client import JSON, Desk

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z"


def parse_time(value: str) -> datetime:
    """Parse a time of a response."""
    return datetime.fromisoformat(value)


async def add_ticket(db: AsyncSession, caller: UserCaller, **columns: Any) -> Ticket:
    """Add a ticket to the caller's organisation, without the service."""
    requester, _ = await matching.find_or_create(db, caller.org_id, RequesterDetails(email="mia@customer.example"))
    number = (await db.scalar(select(func.max(Ticket.number)).where(Ticket.org_id == caller.org_id)) or 0) + 1
    ticket = Ticket(
        **{
            "org_id": caller.org_id,
            "id": new_id(),
            "number": number,
            "title": "It broke",
            "description": "All of it.",
            "status": TicketStatus.OPEN,
            "priority": "MEDIUM",
            "requester_id": requester.id,
            "created_at": caller.now,
            "updated_at": caller.now,
            "version": 1,
            **columns,
        }
    )
    db.add(ticket)
    await db.flush()
    return ticket


async def read_timers(db: AsyncSession, org_id: UUID, subject_id: UUID) -> dict[str, datetime]:
    """Return when each kind of timer of a subject is due (real time)."""
    rows = await db.execute(
        select(Timer.kind, Timer.due_at).where(Timer.org_id == org_id, Timer.subject_id == subject_id)
    )
    return {row.kind: row.due_at for row in rows}


async def read_ticket_timers(desk: Desk, ticket: JSON) -> dict[str, datetime]:
    """Return when each kind of timer of a ticket is due (real time)."""
    async with desk.database.session(desk.id) as db:
        return await read_timers(db, desk.id, UUID(ticket["id"]))


async def event_types(desk: Desk, ticket: JSON) -> list[str]:
    return [event["type"] for event in await desk.history(ticket)]


async def read_event_numbers(desk: Desk) -> list[int]:
    """Read the numbers of all events of the organisation, in order."""
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(EventRow.seq).where(EventRow.org_id == desk.id).order_by(EventRow.seq)))


async def assert_events_are_numbered_without_gaps(desk: Desk) -> None:
    numbers = await read_event_numbers(desk)
    async with desk.database.session(desk.id) as db:
        counted = await db.scalar(text("SELECT last_event FROM counters WHERE org_id = :org"), {"org": desk.id})
    assert numbers == list(range(1, len(numbers) + 1))
    assert counted == len(numbers)


async def list_waiting(desk: Desk) -> list[int]:
    """List the numbers of the tickets that wait for an assignee."""
    async with desk.database.session(desk.id) as db:
        statement = select(Ticket.number).where(Ticket.org_id == desk.id, text(WAITING)).order_by(Ticket.number)
        return list(await db.scalars(statement))


async def count_by_assignee(desk: Desk) -> dict[UUID | None, int]:
    """Count the tickets of each assignee."""
    async with desk.database.session(desk.id) as db:
        counted = select(Ticket.assignee_id, func.count()).where(Ticket.org_id == desk.id).group_by(Ticket.assignee_id)
        return dict((await db.execute(counted)).all())


async def pass_time(desk: Desk, by: timedelta, *tickets: JSON) -> None:
    """Make the timers of these tickets, or of the whole organisation, due earlier, as if time had passed."""
    subjects = [UUID(ticket["id"]) for ticket in tickets]
    async with desk.database.session(desk.id) as db:
        conditions = [Timer.org_id == desk.id, *([Timer.subject_id.in_(subjects)] if subjects else [])]
        await db.execute(update(Timer).where(*conditions).values(due_at=Timer.due_at - by))


async def run_due_timers(database: Database) -> None:
    """Run the worker's job `timers` once."""
    await timers.run_due(database, wiring.TIMERS)


async def suspend(desk: Desk, user_id: UUID) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(update(User).where(User.org_id == desk.id, User.id == user_id).values(status="SUSPENDED"))


_INSERT = text(
    """
    WITH counted AS (
        UPDATE counters SET last_number = last_number + :n WHERE org_id = :org RETURNING last_number - :n AS before
    )
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id, created_at,
                         updated_at, responded_at, auto_close_at)
    SELECT :org, gen_random_uuid(), before + place, 'One of many', 'They are many.', :status, 'LOW',
           :requester, CAST(:now AS timestamptz), CAST(:now AS timestamptz),
           CAST(:responded_at AS timestamptz), CAST(:responded_at AS timestamptz) + interval '30 days'
    FROM counted, generate_series(1, :n) AS place RETURNING id
    """
)


async def insert_many(desk: Desk, count: int, *, responded_at: datetime | None = None) -> Sequence[UUID]:
    """Insert unassigned tickets with equal `created_at`: `OPEN`, or `RESPONDED` at a time but without timers."""
    async with desk.database.session(desk.id) as db:
        requester, _ = await matching.find_or_create(db, desk.id, RequesterDetails(email="many@customer.example"))
        values = {
            "org": desk.id,
            "n": count,
            "requester": requester.id,
            "now": real_now(),
            "status": "RESPONDED" if responded_at else "OPEN",
            "responded_at": responded_at,
        }
        return (await db.scalars(_INSERT, values)).all()


async def give_to_account(desk: Desk, user_id: UUID, condition: str = "true") -> None:
    """Make an account the requester of the tickets that meet a condition in SQL, without the service."""
    async with desk.database.session(desk.id) as db:
        email = (await db.scalars(select(User.email).where(User.org_id == desk.id, User.id == user_id))).one()
        requester = Requester(
            org_id=desk.id, id=new_id(), email=email, owns_email=False, user_id=user_id, created_at=real_now()
        )
        db.add(requester)
        await db.flush()
        statement = f"UPDATE tickets SET requester_id = :requester WHERE org_id = :org AND {condition}"
        await db.execute(text(statement), {"requester": requester.id, "org": desk.id})


async def insert_timers(desk: Desk, ids: Sequence[UUID], kind: str, due_at: datetime) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(
            text(
                "INSERT INTO timers (org_id, subject_id, kind, due_at) "
                "SELECT :org, id, :kind, :due_at FROM unnest(CAST(:ids AS uuid[])) AS id"
            ),
            {"org": desk.id, "ids": list(ids), "kind": kind, "due_at": due_at},
        )


async def skip_work(desk: Desk) -> None:
    """Discard the work that the events and timers of an organisation cause, to save time in later tests."""
    async with desk.database.session(desk.id) as db:
        last = select(func.max(EventRow.seq)).where(EventRow.org_id == desk.id).scalar_subquery()
        await db.execute(update(Relay).where(Relay.org_id == desk.id).values(last_seq=last))
        await db.execute(delete(Timer).where(Timer.org_id == desk.id))


async def skip_earlier_work(database: Database) -> None:
    """Discard the work that earlier tests left, in all organisations."""
    async with database.session(None) as db:
        await db.execute(delete(Timer))
        await db.execute(text("UPDATE relays SET last_seq = last_event FROM counters c WHERE c.org_id = relays.org_id"))
