"""Close tickets with the status RESPONDED, and remind their requesters before: a batch of timers at a time.

Each handler locks tickets first and then deletes their timers, in the order in which requests lock them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Uuid, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import wake_worker_after_commit
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, record
from app.core.outbox.subscriptions import writes
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets.auto_close.statements import CLOSE
from app.tickets.events import TicketClosingSoon, TicketStatusChanged
from app.tickets.models import Ticket, TicketStatus


@writes(TicketStatusChanged)
async def close_responded(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Close the responded tickets whose countdown has ended."""
    tenant = await get_tenant(db, org_id)
    locked = await _lock_tickets(db, org_id, due)
    if not locked:
        return []
    latest = max(one.at for one in locked)
    is_on_time = all(one.at == one.due_at for one in locked)
    fired = await db.scalars(
        CLOSE,
        {
            "org_id": org_id,
            "ids": [one.subject_id for one in locked],
            "latest": latest,
            "now": None if is_on_time else tenant.organisation_time(latest),
            "event_ids": [new_id() for _ in locked],
        },
    )
    handled = set(fired)
    wake_worker_after_commit(db)
    return [one for one in locked if one.subject_id in handled]


async def remind_requesters(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Record that responded tickets will close soon. Their requesters get a mail about it."""
    tenant = await get_tenant(db, org_id)
    fired = await timers.delete_due(db, org_id, await _lock_tickets(db, org_id, due))
    rows = await db.execute(
        select(Ticket.id, Ticket.auto_close_at).where(
            Ticket.org_id == org_id,
            Ticket.id.in_([one.subject_id for one in fired]),
            Ticket.status == TicketStatus.RESPONDED,
        )
    )
    closing = {row.id: row.auto_close_at for row in rows}
    for one in fired:
        if closes_at := closing.get(one.subject_id):
            at = tenant.organisation_time(one.at)
            record(db, TicketClosingSoon(at=at, actor=SYSTEM, ticket_id=one.subject_id, auto_close_at=closes_at))
    return fired


async def _lock_tickets(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Lock the tickets of due timers that no other transaction has locked; return the timers of the locked tickets.

    The timers are locked too, except those that another transaction has locked: an advance of the clock locks timers of
    many tickets in any order.
    """
    locked_ids = set(
        await db.scalars(
            select(Ticket.id)
            .where(Ticket.org_id == org_id, Ticket.id == any_(literal([one.subject_id for one in due], ARRAY(Uuid))))
            .order_by(Ticket.id)
            .with_for_update(key_share=True, skip_locked=True)
        )
    )
    locked = [one for one in due if one.subject_id in locked_ids]
    return await timers.lock_available(db, org_id, locked) if locked else []
