"""Timers: what will happen, and when. A timer is one row per subject and kind, and fires once.

The worker's job `timers` runs the due timers of each organisation in turn, a batch of one kind at a time. In one
transaction, a handler locks the subjects, deletes their timers, and acts. Locked subjects are left to the next run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.core.clock import real_now
from app.core.database.intervals import add_interval_sql
from app.core.database.outages import is_outage, is_unmigrated, lacks_schema
from app.core.database.pool import Database, run_before_commit
from app.core.outbox.backoff import TIMER_BACKOFF
from app.core.outbox.models import DELIVER, IS_NOT_DELIVERY, Timer

TIMERS_PER_BATCH = 1000
RECHECK_DELAY = 0.05  # seconds
# Setting a timer must not flush new events, which get their time only before the commit (`numbering.py`). It need not,
# since timers have no foreign keys.
_WITHOUT_AUTOFLUSH = {"autoflush": False}

log = structlog.get_logger("tessera.timers")


@dataclass(frozen=True)
class Due:
    """A timer that is due. `at` is the current time as its handler sees it. Both times are real time."""

    kind: str
    subject_id: UUID
    due_at: datetime
    at: datetime


# A handler returns the timers that it handled. The others were locked by other transactions and stay due.
Handler = Callable[[AsyncSession, UUID, Sequence[Due]], Awaitable[Sequence[Due]]]
Handlers = Mapping[str, Handler]


async def set_timers(db: AsyncSession, org_id: UUID, subject_id: UUID, due: Mapping[str, datetime]) -> None:
    """Set the subject's timers, by kind, to these times (real time). Timers that are already set are moved."""
    statement = insert(Timer).values(
        [{"org_id": org_id, "subject_id": subject_id, "kind": kind, "due_at": due_at} for kind, due_at in due.items()]
    )
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=[Timer.org_id, Timer.subject_id, Timer.kind],
            set_={"due_at": statement.excluded.due_at, "attempts": text("0")},
        ),
        execution_options=_WITHOUT_AUTOFLUSH,
    )


async def cancel(db: AsyncSession, org_id: UUID, subject_id: UUID, kinds: Sequence[str]) -> None:
    """Cancel the subject's timers of these kinds."""
    conditions = (Timer.org_id == org_id, Timer.subject_id == subject_id, Timer.kind.in_(kinds))
    await db.execute(delete(Timer).where(*conditions), execution_options=_WITHOUT_AUTOFLUSH)


async def delete_due(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Delete these timers (all of one kind); return the ones that still existed and were due, in order."""
    if not due:
        return []
    deleted = await db.scalars(
        delete(Timer)
        .where(
            Timer.org_id == org_id,
            Timer.kind == due[0].kind,
            Timer.subject_id.in_([d.subject_id for d in due]),
            Timer.due_at <= max(d.at for d in due),
        )
        .returning(Timer.subject_id)
    )
    deleted_ids = set(deleted)
    return [d for d in due if d.subject_id in deleted_ids]


async def lock_available(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Lock these timers (all of one kind); return the ones that no other transaction has locked.

    Deleting a locked timer would wait for the other transaction.
    """
    ids = [one.subject_id for one in due]
    conditions = (Timer.org_id == org_id, Timer.kind == due[0].kind, Timer.subject_id.in_(ids))
    unlocked = set(await db.scalars(select(Timer.subject_id).where(*conditions).with_for_update(skip_locked=True)))
    return [one for one in due if one.subject_id in unlocked]


def write_due_organisations_query(condition: str) -> str:
    """Return the query for the organisations with due timers that meet `condition`: one index probe for each."""
    return f"""
        SELECT counters.org_id FROM counters, LATERAL (
            SELECT due_at FROM timers WHERE timers.org_id = counters.org_id AND {condition} ORDER BY due_at LIMIT 1
        ) AS first
        WHERE first.due_at <= :now ORDER BY counters.org_id
        """  # noqa: S608 - the condition is one of two constants


_DUE_ORGANISATIONS = text(write_due_organisations_query(IS_NOT_DELIVERY))


async def run_due(database: Database, handlers: Handlers, stopping: Callable[[], bool] = lambda: False) -> int:
    """Fire due timers until every timer that is due is locked; return the number of fired timers.

    Args:
        stopping: called between batches; once it returns true, the rest is left to another worker.
    """

    async def serve(org_id: UUID) -> int:
        return await _run_batch(database, org_id, handlers)

    total = 0
    while True:
        async with database.session(None) as db:
            organisations = (await db.scalars(_DUE_ORGANISATIONS, {"now": real_now()})).all()
        fired = await serve_each(organisations, serve, stopping)
        total += fired
        if not fired:
            return total


async def serve_each(
    organisations: Sequence[UUID], serve: Callable[[UUID], Awaitable[int]], stopping: Callable[[], bool]
) -> int:
    """Serve each organisation once; return the sum of the results.

    A failure for one organisation does not stop the others. The first failure is raised only if the sum is 0.
    """
    done, failures = 0, dict[UUID, Exception]()
    for org_id in organisations:
        if stopping():
            return done
        try:
            done += await serve(org_id)
        except Exception as error:  # noqa: BLE001 - logged and raised below, or by the next run
            failures[org_id] = error
    first = next(iter(failures.values()), None)
    # The job that fails reports in one line that the database is away or not migrated.
    if first is None or done or not (is_outage(first) or lacks_schema(first)):
        for org_id, failure in failures.items():
            log.warning("organisation_not_served", org_id=str(org_id), error=type(failure).__name__)
    if first is not None and not done:
        raise first
    return done


async def _run_batch(database: Database, org_id: UUID, handlers: Handlers) -> int:
    """Fire one organisation's next batch; return the number of fired timers.

    If a kind has only locked or failing timers, try the next kind.
    """
    kinds = list(handlers)
    while True:
        async with database.session(org_id) as db:
            due = await find_next_due(db, org_id, real_now(), kinds=kinds)
        if not due:
            return 0
        fired = await _fire_or_postpone(database, org_id, handlers[due[0].kind], due)
        if fired:
            return fired
        kinds.remove(due[0].kind)


async def _fire_or_postpone(database: Database, org_id: UUID, handler: Handler, due: Sequence[Due]) -> int:
    """Fire a batch. If it fails, fire each timer alone, and postpone the ones that fail."""
    try:
        return await _fire(database, org_id, handler, due)
    except Exception as error:
        if await _is_due_to_database(database, error):
            raise
        log.exception("timers_failed", org_id=str(org_id), kind=due[0].kind, count=len(due))
    fired = 0
    for one in due:
        try:
            fired += await _fire(database, org_id, handler, [one])
        except Exception as error:
            if await _is_due_to_database(database, error):
                raise
            log.exception("timer_failed", org_id=str(org_id), kind=one.kind, subject_id=str(one.subject_id))
            await _postpone(database, org_id, one)
    return fired


async def _is_due_to_database(database: Database, error: Exception) -> bool:
    """Return whether the database is away or not migrated, which is no failure of the handler."""
    if not lacks_schema(error):
        return is_outage(error)
    async with database.session(None) as db:
        return await is_unmigrated(db)


async def _fire(database: Database, org_id: UUID, handler: Handler, due: Sequence[Due]) -> int:
    async with database.session(org_id) as db:
        return len(await handler(db, org_id, due))


async def _postpone(database: Database, org_id: UUID, due: Due) -> None:
    async with database.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.subject_id == due.subject_id, Timer.kind == due.kind)
        attempts = await db.scalar(select(Timer.attempts).where(*conditions)) or 0
        due_at = real_now() + TIMER_BACKOFF.wait_after(attempts + 1)
        await db.execute(update(Timer).where(*conditions).values(due_at=due_at, attempts=attempts + 1))


async def find_next_due(
    db: AsyncSession, org_id: UUID, now: datetime, *, kinds: Sequence[str], without: Collection[UUID] = ()
) -> list[Due]:
    """Find the organisation's earliest due timers of one kind, at most a batch, without those of some subjects.

    Each is the first timer of its subject: a later one waits, even if the first is locked or of a kind not looked for.
    """
    other = aliased(Timer)
    # A count, which is made for each row: an anti-join or a minimum might read all timers of the organisation.
    earlier_count = (
        select(func.count())
        .where(other.org_id == org_id, other.subject_id == Timer.subject_id, other.kind != text(f"'{DELIVER}'"))
        .where(other.due_at < Timer.due_at)
        .scalar_subquery()
    )
    rows = await db.execute(
        select(Timer.kind, Timer.subject_id, Timer.due_at)
        .where(Timer.org_id == org_id, Timer.due_at <= now, Timer.kind != text(f"'{DELIVER}'"), Timer.kind.in_(kinds))
        .where(Timer.subject_id.not_in(without), earlier_count == 0)
        .order_by(Timer.due_at, Timer.kind, Timer.subject_id)
        .limit(TIMERS_PER_BATCH)
    )
    due = [Due(kind=row.kind, subject_id=row.subject_id, due_at=row.due_at, at=now) for row in rows]
    return take_first_kind(due)


def take_first_kind(due: Sequence[Due]) -> list[Due]:
    """Return the timers that have the kind of the first one, for one call of its handler.

    A timer is left out if the subject has an earlier one of another kind, so that each subject's timers stay in order.
    """
    taken: list[Due] = []
    subjects_left_out: set[UUID] = set()
    for one in due:
        if one.kind != due[0].kind:
            subjects_left_out.add(one.subject_id)
        elif one.subject_id not in subjects_left_out:
            taken.append(one)
    return taken


async def bring_forward(db: AsyncSession, org_id: UUID, kinds: Sequence[str], by: timedelta) -> None:
    """Make the organisation's timers of these kinds due earlier by `by`."""
    await db.execute(
        update(Timer)
        .where(Timer.org_id == org_id, Timer.kind.in_(kinds))
        .values(due_at=text(add_interval_sql("due_at", "-CAST(:by AS interval)")).bindparams(by=by))
    )


async def run_due_in_order(db: AsyncSession, org_id: UUID, handlers: Handlers, now: datetime) -> list[Due]:
    """Fire the organisation's due timers in this transaction, in order for each subject.

    Each handler sees the timer's due time as the current time.

    Timers of locked subjects stay due. After its first event, the transaction holds the counter's lock while it locks
    subjects, in reverse of the usual order. No deadlock is possible, since it skips locked subjects.
    """
    fired: list[Due] = []
    busy: set[UUID] = set()
    while due := await find_next_due(db, org_id, now, kinds=list(handlers), without=busy):
        batch = [replace(one, at=one.due_at) for one in due]
        handled = await handlers[batch[0].kind](db, org_id, batch)
        busy |= {one.subject_id for one in batch} - {one.subject_id for one in handled}
        await run_before_commit(db)  # numbers the events now, so that the history keeps the order of the timers
        fired.extend(handled)
    return sorted(fired, key=lambda one: one.due_at)


async def run_remaining(database: Database, org_id: UUID, handlers: Handlers, *, seconds: float) -> list[Due]:
    """Fire the timers whose subjects were locked, until none is due or `seconds` have passed."""
    fired: list[Due] = []
    give_up_at = time.monotonic() + seconds
    while True:
        async with database.session(org_id) as db:
            fired += await run_due_in_order(db, org_id, handlers, real_now())
            remaining = await find_next_due(db, org_id, real_now(), kinds=list(handlers))
        if not remaining or time.monotonic() > give_up_at:
            return fired
        await asyncio.sleep(RECHECK_DELAY)


async def measure_pending(db: AsyncSession, org_id: UUID) -> tuple[int, int, datetime | None]:
    """Count the organisation's timers and queued deliveries, and return when the earliest is due (real time)."""
    is_delivery = Timer.kind == DELIVER
    row = (
        await db.execute(
            select(func.count().filter(~is_delivery), func.count().filter(is_delivery), func.min(Timer.due_at)).where(
                Timer.org_id == org_id
            )
        )
    ).one()
    return row[0], row[1], row[2]
