"""Change the tickets of a user in batches: the machinery of `linking.py`, `unassigning.py` and `erasing.py`.

A reaction changes a first batch in the transaction of the event, and sets a timer on the user for the rest. Tickets
that other transactions have locked are left to the timer, so that no transaction waits for another. The timer fires a
last time when all transactions that began before the event have ended. These transactions do not see the change of the
event, and the event's transaction does not see their changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, any_, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus
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
_USER_COLUMNS = (
    User.id,
    User.email,
    User.status,
    User.email_verified_at.is_not(None).label("is_verified"),
    User.is_assignable.label("is_assignable"),
)
UserRow = Row[UUID, str, AccountStatus, bool, bool]  # with these columns


@dataclass(frozen=True)
class BatchedChange:
    """A change of the tickets of a user.

    Args:
        timer_kind: the kind of the timer that changes the rest.
        condition: which tickets of the organisation to change; `None` if there cannot be any.
        apply: changes a batch of locked tickets. The time is the organisation's.
    """

    timer_kind: str
    condition: Callable[[UserRow], ColumnElement[bool] | None]
    apply: Callable[[AsyncSession, UUID, UserRow, Sequence[UUID], datetime], Awaitable[None]]


async def run_first_batch(db: AsyncSession, org_id: UUID, user_id: UUID, at: datetime, change: BatchedChange) -> None:
    """Change a first batch in the transaction of the event, and set the timer."""
    await db.flush()
    user = await read_user(db, org_id, user_id)
    if change.condition(user) is not None:
        _, has_more = await _run_batch(db, org_id, user, at, change)
        await timers.set_timers(db, org_id, user_id, {change.timer_kind: next_batch_at(has_more=has_more)})


async def resume_batches(db: AsyncSession, org_id: UUID, due: Sequence[Due], change: BatchedChange) -> Sequence[Due]:
    """Change a batch for each user whose row is unlocked; set the timer again if there were tickets to change.

    The transaction stops after `TICKETS_PER_BATCH` tickets, and the timers of the other users stay due. Timers of users
    who no longer exist are deleted.
    """
    tenant = await get_tenant(db, org_id)
    ids = [one.subject_id for one in due]
    user_conditions = (User.org_id == org_id, User.id.in_(ids))
    users = select(*_USER_COLUMNS).where(*user_conditions).order_by(User.id).limit(USERS_PER_BATCH)
    handled = set(ids).difference(await db.scalars(select(User.id).where(*user_conditions)))
    next_batches, changed = {}, 0
    for user in (await db.execute(users.with_for_update(read=True, skip_locked=True))).all():
        count, has_more = await _run_batch(db, org_id, user, tenant.now(), change)
        handled.add(user.id)
        if count or has_more:
            next_batches[user.id] = next_batch_at(has_more=has_more)
        changed += count
        if changed >= TICKETS_PER_BATCH:
            break
    fired = await timers.delete_due(db, org_id, [one for one in due if one.subject_id in handled])
    for user_id, due_at in next_batches.items():
        await timers.set_timers(db, org_id, user_id, {change.timer_kind: due_at})
    return fired


def next_batch_at(*, has_more: bool) -> datetime:
    """Return when the timer is due again (real time): soon if there are more tickets, else for a last check."""
    return real_now() + (RETRY_DELAY if has_more else RECHECK_DELAY)


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


async def read_user(db: AsyncSession, org_id: UUID, user_id: UUID) -> UserRow:
    """Read the user whose tickets are changed."""
    return (await db.execute(select(*_USER_COLUMNS).where(User.org_id == org_id, User.id == user_id))).one()


async def update_tickets(db: AsyncSession, org_id: UUID, ids: Sequence[UUID], **values: object) -> None:
    """Set columns of tickets to the same values."""
    # An array, not a join: a join gets a bad plan while the planner's statistics lag (see `assignment/statements.py`).
    conditions = (Ticket.org_id == org_id, Ticket.id == any_(literal(ids, IDS)))
    await db.execute(update(Ticket).where(*conditions).values(**values).execution_options(synchronize_session=False))
