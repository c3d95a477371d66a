"""What happens to tickets by itself: a batch at a time, set-based.

Every handler locks tickets first and then claims their timers, so that it never waits for a request that does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Interval, SmallInteger, Text, Uuid, any_, bindparam, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncSession

from app.access.permissions import TICKET_WORK, RoleKind
from app.accounts.roles.events import RoleUpdated
from app.accounts.users.events import UserBecameAvailable, UserSignedUp
from app.accounts.users.queries import next_in_turn
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import has_work
from app.core.ids import new_id
from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, record
from app.core.outbox.numbering import TICK
from app.core.outbox.subscriptions import writes
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets import rules
from app.tickets.events import TicketAssigned, TicketClosingSoon, TicketStatusChanged
from app.tickets.models import WAITING, Ticket, TicketStatus
from app.tickets.rules import ASSIGN, AUTO_CLOSE

ASSIGN_BATCH = 1000
ASSIGN_AGAIN = timedelta(seconds=1)

_INSTANT = TIMESTAMP(timezone=True)
_IDS = ARRAY(Uuid)
_CLOSED = TicketStatusChanged.json_without(
    from_status=TicketStatus.RESPONDED, to_status=TicketStatus.CLOSED, reason=AUTO_CLOSE
)

# --- closing ---------------------------------------------------------------------------------------------------------

# A ticket that has left RESPONDED has no timer left to claim. Without a `now`, each closes at its `auto_close_at`.
# Events and rows are dated as in `numbering.py`: each after the one before, and the first after the commit before. The
# tickets are locked already when the statement takes the counter's row. Rows are found by arrays of their ids, not by
# joins, which go wrong where the planner's statistics lag behind.
_CLOSE = text(
    """
    WITH claimed AS (
        DELETE FROM timers
        WHERE org_id = :org_id AND kind = 'AUTO_CLOSE' AND subject_id = ANY(:ids) AND due_at <= :latest
        RETURNING subject_id
    ), closing AS (
        SELECT id, closes_at, row_number() OVER (ORDER BY closes_at, number) AS place
        FROM (
            SELECT id, number, coalesce(:now, auto_close_at) AS closes_at FROM tickets
            WHERE org_id = :org_id AND id = ANY(ARRAY(SELECT subject_id FROM claimed)) AND status = 'RESPONDED'
        ) AS answered
    ), before AS MATERIALIZED (
        SELECT last_event, last_at FROM counters WHERE org_id = :org_id FOR NO KEY UPDATE
    ), dated AS MATERIALIZED (
        SELECT id, closes_at, before.last_event + place AS seq, place,
               place * :tick + greatest(before.last_at, max(closes_at - place * :tick) OVER (ORDER BY place)) AS at
        FROM closing, before
    ), counter AS (
        UPDATE counters SET last_event = ended.seq, last_at = ended.at
        FROM (SELECT max(seq) AS seq, max(at) AS at FROM dated) AS ended
        WHERE org_id = :org_id AND ended.seq IS NOT NULL
    ), ids AS MATERIALIZED (
        SELECT array_agg(id ORDER BY place) AS id, array_agg(at ORDER BY place) AS at,
               array_agg(closes_at ORDER BY place) AS closes_at
        FROM dated
    ), closed AS (
        UPDATE tickets SET status = 'CLOSED', auto_close_at = NULL, version = version + 1,
               closed_at = ids.closes_at[array_position(ids.id, tickets.id)],
               updated_at = ids.at[array_position(ids.id, tickets.id)]
        FROM ids WHERE tickets.org_id = :org_id AND tickets.id = ANY(ARRAY(SELECT id FROM dated))
    ), happened AS (
        INSERT INTO events (org_id, seq, id, type, version, subject_id, actor_type, data, created_at)
        SELECT :org_id, seq, (:event_ids)[place], :type, :version, id, 'SYSTEM', CAST(:data AS jsonb), at FROM dated
    )
    SELECT subject_id FROM claimed
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
    bindparam("ids", type_=_IDS),
    bindparam("latest", type_=_INSTANT),
    bindparam("now", type_=_INSTANT),
    bindparam("event_ids", type_=_IDS),
    bindparam("tick", TICK, type_=Interval),
    bindparam("type", TicketStatusChanged.type, type_=Text),
    bindparam("version", TicketStatusChanged.version, type_=SmallInteger),
    bindparam("data", _CLOSED, type_=Text),
)


@writes(TicketStatusChanged)
async def close_answered(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Close the tickets whose requester has not come back since they were answered."""
    clock = await get_tenant(db, org_id)
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
    clock = await get_tenant(db, org_id)
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
                TicketClosingSoon(at=at, actor=SYSTEM, ticket_id=one.subject_id, auto_close_at=closes_at),
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
    UPDATE tickets SET admin_id = (:assignees)[array_position(:ids, id)], version = version + 1
    WHERE org_id = :org_id AND id = ANY(:ids)
    """
).bindparams(
    bindparam("org_id", type_=Uuid),
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


async def assign_backlog_to_user(db: AsyncSession, org_id: UUID, event: UserBecameAvailable) -> None:
    """Assign the waiting tickets when a user becomes available."""
    await _assign_backlog(db, org_id, event.user_id, event.at)


async def assign_backlog_to_new_user(db: AsyncSession, org_id: UUID, event: UserSignedUp) -> None:
    """Assign the waiting tickets when a user signs up who can be assigned tickets at once."""
    if event.status == AccountStatus.ACTIVE and event.role != RoleKind.CUSTOMER:
        await _assign_backlog(db, org_id, event.user_id, event.at)


async def assign_backlog_to_role(db: AsyncSession, org_id: UUID, event: RoleUpdated) -> None:
    """Assign the waiting tickets when a role's users may work on tickets from now on."""
    if not TICKET_WORK.isdisjoint(event.added):
        await _assign_backlog(db, org_id, event.role_id, event.at)


async def _assign_backlog(db: AsyncSession, org_id: UUID, subject_id: UUID, at: datetime) -> None:
    """Assign what waits, in the transaction of the change that makes somebody available.

    A ticket that is being opened at this moment neither sees this change nor is seen by it: the timer looks again.
    """
    await db.flush()
    await assign_waiting(db, org_id, at)
    await timers.set_timers(db, org_id, subject_id, {ASSIGN: real_now()})


async def assign_later(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
    """Assign what still waits; where nobody is available, the next one to become so takes it."""
    clock = await get_tenant(db, org_id)
    assigned = await assign_waiting(db, org_id, clock.now())
    claimed = await timers.claim(db, org_id, await timers.not_being_set(db, org_id, due))
    if claimed and (assigned == ASSIGN_BATCH or await _some_were_busy(db, org_id)):
        await timers.set_timers(db, org_id, claimed[0].subject_id, {ASSIGN: real_now() + ASSIGN_AGAIN})
    return claimed


async def _some_were_busy(db: AsyncSession, org_id: UUID) -> bool:
    if not await next_in_turn(db, org_id):
        return False
    return (await db.scalar(select(Ticket.id).where(Ticket.org_id == org_id, text(WAITING)).limit(1))) is not None
