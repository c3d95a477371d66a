"""What happens to tickets by itself: a batch at a time, set-based.

Every handler locks tickets first and then claims their timers, so that it never waits for a request that does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Uuid, any_, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import TICKET_WORK, RoleKind
from app.accounts.roles.events import RoleUpdated
from app.accounts.users.events import UserBecameAvailable, UserSignedUp
from app.accounts.users.queries import next_in_turn
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.fields import to_rfc3339
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, Event, has_work, record
from app.core.outbox.timers import Due
from app.organisations.queries import tenant
from app.tickets import rules
from app.tickets.events import TicketAssigned, TicketClosingSoon
from app.tickets.models import WAITING, Ticket, TicketStatus
from app.tickets.rules import ASSIGN

ASSIGN_BATCH = 1000
ASSIGN_AGAIN = timedelta(seconds=1)

_INSTANT = TIMESTAMP(timezone=True)
_IDS = ARRAY(Uuid)

# --- closing ---------------------------------------------------------------------------------------------------------

# A ticket that has left RESPONDED has no timer left to claim. Without a `now`, each closes at the time it was to. Rows
# are found by arrays of their ids, not by joins, which go wrong where the planner's statistics lag behind.
_CLOSE = text(
    """
    WITH claimed AS (
        DELETE FROM timers
        WHERE org_id = :org_id AND kind = 'AUTO_CLOSE' AND subject_id = ANY(:ids) AND due_at <= :latest
        RETURNING subject_id
    ), closed AS (
        UPDATE tickets SET status = 'CLOSED', closed_at = coalesce(:now, auto_close_at),
               updated_at = coalesce(:now, auto_close_at), auto_close_at = NULL, version = version + 1
        WHERE org_id = :org_id AND id = ANY(ARRAY(SELECT subject_id FROM claimed)) AND status = 'RESPONDED'
        RETURNING id, number, closed_at
    ), numbered AS (
        SELECT id, closed_at, row_number() OVER (ORDER BY closed_at, number) AS place FROM closed
    ), counter AS (
        UPDATE counters SET last_event = last_event + (SELECT count(*) FROM closed) WHERE org_id = :org_id
        RETURNING last_event - (SELECT count(*) FROM closed) AS before
    ), happened AS (
        INSERT INTO events (org_id, seq, id, type, ticket_id, actor_type, data, created_at)
        SELECT :org_id, counter.before + numbered.place, (:event_ids)[numbered.place], 'ticket.status_changed',
               numbered.id, 'SYSTEM', '{"from": "RESPONDED", "to": "CLOSED", "reason": "AUTO_CLOSE"}',
               numbered.closed_at
        FROM counter, numbered
    )
    SELECT subject_id FROM claimed
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=_IDS),
    bindparam("latest", type_=_INSTANT),
    bindparam("now", type_=_INSTANT),
    bindparam("event_ids", type_=_IDS),
)


async def close_answered(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Close the tickets whose requester has not come back since they were answered."""
    clock = await tenant(db, org_id)
    locked = await _lock(db, org_id, due)
    if not locked:
        return []
    latest = max(one.at for one in locked)
    on_time = all(one.at == one.due_at for one in locked)
    claimed = await db.scalars(
        _CLOSE,
        {
            "org_id": org_id,
            "ids": [one.subject_id for one in locked],
            "latest": latest,
            "now": None if on_time else clock.organisation_time(latest),
            "event_ids": [new_id() for _ in locked],
        },
    )
    handled = set(claimed)
    has_work(db)
    return [one for one in locked if one.subject_id in handled]


async def remind_requesters(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Have the requesters told that their tickets will close."""
    clock = await tenant(db, org_id)
    claimed = await timers.claim(db, org_id, await _lock(db, org_id, due))
    rows = await db.execute(
        select(Ticket.id, Ticket.auto_close_at).where(
            Ticket.org_id == org_id,
            Ticket.id.in_([one.subject_id for one in claimed]),
            Ticket.status == TicketStatus.RESPONDED,
        )
    )
    closing = {row.id: row.auto_close_at for row in rows}
    for one in claimed:
        if closes_at := closing.get(one.subject_id):
            at = clock.organisation_time(one.at)
            record(
                db,
                TicketClosingSoon(at=at, actor=SYSTEM, ticket_id=one.subject_id, auto_close_at=to_rfc3339(closes_at)),
            )
    return claimed


async def _lock(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Those of the due timers whose tickets are free, now locked."""
    free = set(
        await db.scalars(
            select(Ticket.id)
            .where(Ticket.org_id == org_id, Ticket.id == any_(literal([one.subject_id for one in due], _IDS)))
            .order_by(Ticket.id)
            .with_for_update(key_share=True, skip_locked=True)
        )
    )
    return [one for one in due if one.subject_id in free]


# --- assigning -------------------------------------------------------------------------------------------------------

_GIVE = text(
    """
    UPDATE tickets SET admin_id = (:assignees)[array_position(:ids, id)], updated_at = :now, version = version + 1
    WHERE org_id = :org_id AND id = ANY(:ids)
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("now", type_=_INSTANT),
    bindparam("ids", type_=_IDS),
    bindparam("assignees", type_=_IDS),
)


async def assign_waiting(db: AsyncSession, org_id: UUID, now: datetime) -> int:
    """Give waiting tickets to those available, oldest first, by the rotation; returns how many, at most a batch."""
    available = await next_in_turn(db, org_id)
    if not available:
        return 0
    waiting = (
        await db.execute(
            select(Ticket.id, Ticket.number)
            .where(Ticket.org_id == org_id, text(WAITING))
            .order_by(Ticket.number)
            .limit(ASSIGN_BATCH)
            .with_for_update(key_share=True, skip_locked=True)
        )
    ).all()
    if not waiting:
        return 0
    given = [(row.id, rules.assignee(row.number, available)) for row in waiting]
    await db.execute(
        _GIVE,
        {
            "org_id": org_id,
            "now": now,
            "ids": [ticket_id for ticket_id, _ in given],
            "assignees": [admin_id for _, admin_id in given],
        },
    )
    record(
        db,
        *(
            TicketAssigned(at=now, actor=SYSTEM, ticket_id=ticket_id, admin_id=admin_id)
            for ticket_id, admin_id in given
        ),
    )
    return len(given)


async def give_to_the_newly_available(db: AsyncSession, org_id: UUID, event: Event) -> None:
    """Assign what waits, in the transaction that makes somebody available, or lets a role's users work on tickets.

    A ticket that is being opened at this moment sees them no more than they see it: the timer looks again afterwards.
    """
    assert isinstance(event, UserSignedUp | UserBecameAvailable | RoleUpdated)
    if isinstance(event, UserSignedUp) and (event.status != AccountStatus.ACTIVE or event.role == RoleKind.CUSTOMER):
        return
    if isinstance(event, RoleUpdated) and TICKET_WORK.isdisjoint(event.added):
        return
    await db.flush()
    await assign_waiting(db, org_id, event.at)
    subject_id = event.role_id if isinstance(event, RoleUpdated) else event.user_id
    await timers.set_timers(db, org_id, subject_id, {ASSIGN: real_now()})


async def assign_later(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Assign what still waits; where nobody is available, the next one to become so takes it."""
    clock = await tenant(db, org_id)
    assigned = await assign_waiting(db, org_id, clock.now())
    claimed = await timers.claim(db, org_id, await timers.not_being_set(db, org_id, due))
    if claimed and (assigned == ASSIGN_BATCH or await _some_were_busy(db, org_id)):
        await timers.set_timers(db, org_id, claimed[0].subject_id, {ASSIGN: real_now() + ASSIGN_AGAIN})
    return claimed


async def _some_were_busy(db: AsyncSession, org_id: UUID) -> bool:
    if not await next_in_turn(db, org_id):
        return False
    return (await db.scalar(select(Ticket.id).where(Ticket.org_id == org_id, text(WAITING)).limit(1))) is not None
