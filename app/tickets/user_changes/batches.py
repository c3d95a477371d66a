"""Change the tickets of a user in batches: the machinery of `unassigning.py`.

A reaction only sets two timers, so that a request takes as long for a user with many tickets as for one with none. The
first is due at once and changes the tickets. Tickets that other transactions have locked are left to its next run, so
that no transaction waits for another. The second is due when all transactions that began before the event have ended:
these do not see the change of the event, and may have assigned tickets to the user meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.core.clock import real_now
from app.core.outbox import timers
from app.core.outbox.timers import Due
from app.organisations.queries import get_tenant
from app.tickets.models import Ticket

TICKETS_PER_BATCH = 1000
USERS_PER_BATCH = 100  # whose rows the timer locks at the same time
RETRY_DELAY = timedelta(seconds=1)
# Longer than a statement waits for a lock and then runs.
RECHECK_DELAY = timedelta(seconds=10)

IDS = ARRAY(Uuid)
_USER_COLUMNS = (User.id, User.is_assignable.label("is_assignable"))
UserRow = Row[UUID, bool]  # with these columns


@dataclass(frozen=True)
class BatchedChange:
    """A change of the tickets of a user.

    Args:
        condition: which tickets of the organisation to change; `None` if there cannot be any.
        apply: changes a batch of locked tickets. The time is the organisation's.
    """

    condition: Callable[[UserRow], ColumnElement[bool] | None]
    apply: Callable[[AsyncSession, UUID, UserRow, Sequence[UUID], datetime], Awaitable[None]]


async def set_batch_timers(db: AsyncSession, org_id: UUID, subject_id: UUID, kind: str, late_kind: str) -> None:
    """Set the timers of a change on its subject: at once, and when no earlier transaction is running any more."""
    now = real_now()
    await timers.set_timers(db, org_id, subject_id, {kind: now, late_kind: now + RECHECK_DELAY})


async def resume_batches(db: AsyncSession, org_id: UUID, due: Sequence[Due], change: BatchedChange) -> Sequence[Due]:
    """Change a batch for each user whose row is unlocked; set the timer again if there are more tickets to change.

    The transaction stops after `TICKETS_PER_BATCH` tickets, and the timers of the other users stay due. Timers of users
    who no longer exist are deleted.
    """
    tenant = await get_tenant(db, org_id)
    ids = [one.subject_id for one in due]
    user_conditions = (User.org_id == org_id, User.id.in_(ids))
    users = select(*_USER_COLUMNS).where(*user_conditions).order_by(User.id).limit(USERS_PER_BATCH)
    handled = set(ids).difference(await db.scalars(select(User.id).where(*user_conditions)))
    unfinished, changed = [], 0
    for user in (await db.execute(users.with_for_update(read=True, skip_locked=True))).all():
        count, has_more = await _run_batch(db, org_id, user, tenant.now(), change)
        handled.add(user.id)
        if has_more:
            unfinished.append(user.id)
        changed += count
        if changed >= TICKETS_PER_BATCH:
            break
    fired = await timers.delete_due(db, org_id, [one for one in due if one.subject_id in handled])
    for user_id in unfinished:
        await timers.set_timers(db, org_id, user_id, {due[0].kind: real_now() + RETRY_DELAY})
    return fired


async def _run_batch(
    db: AsyncSession, org_id: UUID, user: UserRow, at: datetime, change: BatchedChange
) -> tuple[int, bool]:
    """Change at most a batch of unlocked tickets; return how many, and whether there are more."""
    condition = change.condition(user)
    if condition is None:
        return 0, False
    statement = select(Ticket.id).where(Ticket.org_id == org_id, condition).order_by(Ticket.created_at, Ticket.number)
    batch = statement.limit(TICKETS_PER_BATCH).with_for_update(key_share=True, skip_locked=True)
    ids = (await db.scalars(batch)).all()
    if ids:
        await change.apply(db, org_id, user, ids, at)
    has_more = await db.scalar(statement.limit(1)) is not None
    return len(ids), has_more
