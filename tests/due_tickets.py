"""Tickets whose timers are due, written without the service."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from app.tickets.assignment.rules import ASSIGN

if TYPE_CHECKING:
    from tests.databases import Superuser

_INSERT_REQUESTERS = """
    INSERT INTO requesters (org_id, id, email, created_at)
    SELECT $1::uuid, gen_random_uuid(), 'mia' || n || '@customer.example', now()
    FROM generate_series($2::int, $3::int) AS n
"""
# Tickets that were responded to 30 days ago. Their timers are due now: first the reminders, then auto-close.
_INSERT_RESPONDED_TICKETS = """
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id,
                         created_at, updated_at, responded_at, auto_close_at)
    SELECT $1::uuid, gen_random_uuid(), n, 'It broke', 'All of it.', 'RESPONDED', 'LOW',
           r.id, now(), now(), now() - interval '30 days', now()
    FROM generate_series($2::int, $3::int) AS n
         JOIN requesters AS r ON r.org_id = $1::uuid AND r.email = 'mia' || n || '@customer.example'
"""
_INSERT_CLOSE_TIMERS = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'AUTO_CLOSE', now() - interval '1 minute' FROM tickets
    WHERE org_id = $1 AND number BETWEEN $2 AND $3
"""
_INSERT_REMINDER_TIMERS = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'AUTO_CLOSE_REMINDER', now() - interval '1 hour' FROM tickets
    WHERE org_id = $1 AND number BETWEEN $2 AND $3
"""
_INSERT_WAITING_TICKETS = """
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id,
                         created_at, updated_at)
    SELECT $1::uuid, gen_random_uuid(), n, 'It broke', 'All of it.', 'OPEN', 'LOW', r.id, now(), now()
    FROM generate_series($2::int, $3::int) AS n
         JOIN requesters AS r ON r.org_id = $1::uuid AND r.email = 'mia' || n || '@customer.example'
"""
_INSERT_TIMER = "INSERT INTO timers (org_id, subject_id, kind, due_at) VALUES ($1, $2, $3, now())"


async def insert_responded_tickets(
    superuser: Superuser, org_id: UUID, count: int, *, reminded: int, first: int = 1
) -> None:
    """Insert tickets that are due to be closed. The requesters of the first ones must also be reminded.

    Args:
        first: the number of the first ticket.
    """
    async with superuser.transaction():
        await superuser.execute(_INSERT_REQUESTERS, org_id, first, first + count - 1)
        await superuser.execute(_INSERT_RESPONDED_TICKETS, org_id, first, first + count - 1)
        await superuser.execute(_INSERT_REMINDER_TIMERS, org_id, first, first + reminded - 1)
        await superuser.execute(_INSERT_CLOSE_TIMERS, org_id, first, first + count - 1)


async def insert_waiting_tickets(superuser: Superuser, org_id: UUID, count: int, *, first: int = 1) -> None:
    """Insert tickets without an assignee, and the timer that assigns them."""
    async with superuser.transaction():
        await superuser.execute(_INSERT_REQUESTERS, org_id, first, first + count - 1)
        await superuser.execute(_INSERT_WAITING_TICKETS, org_id, first, first + count - 1)
        await superuser.execute(_INSERT_TIMER, org_id, uuid4(), ASSIGN)
