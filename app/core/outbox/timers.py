"""What will happen, and when. A timer is one row per subject and kind, and fires once.

Loop 1 of the worker: each organisation's due timers, in turn, a batch of one kind at a time. A handler locks the
subjects first (what is busy waits for the next pass), then claims their timers, then acts, all in one transaction.
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

from app.core.clock import real_now
from app.core.database.pool import Database, run_before_commit
from app.core.outbox.backoff import ExponentialBackoff
from app.core.outbox.models import DELIVER, Timer

BATCH = 1000
BACKOFF = ExponentialBackoff(first=timedelta(seconds=5), cap=timedelta(hours=1))
LOOK_AGAIN = 0.05  # seconds
# A timer refers to no row, so the session may keep its changes until they have their time (`numbering.py`).
_APART = {"autoflush": False}

log = structlog.get_logger("tessera.timers")


@dataclass(frozen=True)
class Due:
    """A timer that has come due. `due_at` is real time, and so is `at`: the instant that its handler takes for now."""

    kind: str
    subject_id: UUID
    due_at: datetime
    at: datetime


# A handler returns those it handled; what it leaves out was busy and stays due.
Handler = Callable[[AsyncSession, UUID, Sequence[Due]], Awaitable[Sequence[Due]]]
Handlers = Mapping[str, Handler]


async def set_timers(db: AsyncSession, org_id: UUID, subject_id: UUID, due: Mapping[str, datetime]) -> None:
    """Let each kind happen to the subject at its time (real time), instead of whenever it was to happen before."""
    statement = insert(Timer).values(
        [{"org_id": org_id, "subject_id": subject_id, "kind": kind, "due_at": due_at} for kind, due_at in due.items()]
    )
    await db.execute(
        statement.on_conflict_do_update(
            index_elements=[Timer.org_id, Timer.subject_id, Timer.kind],
            set_={"due_at": statement.excluded.due_at, "attempts": 0},
        ),
        execution_options=_APART,
    )


async def cancel(db: AsyncSession, org_id: UUID, subject_id: UUID, kinds: Sequence[str]) -> None:
    """Let these kinds not happen to the subject."""
    which = (Timer.org_id == org_id, Timer.subject_id == subject_id, Timer.kind.in_(kinds))
    await db.execute(delete(Timer).where(*which), execution_options=_APART)


async def claim(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Take these timers (all of one kind) out of the table; returns those that were still there and due, in order."""
    if not due:
        return []
    taken = await db.scalars(
        delete(Timer)
        .where(
            Timer.org_id == org_id,
            Timer.kind == due[0].kind,
            Timer.subject_id.in_([d.subject_id for d in due]),
            Timer.due_at <= max(d.at for d in due),
        )
        .returning(Timer.subject_id)
    )
    claimed = set(taken)
    return [d for d in due if d.subject_id in claimed]


async def not_being_set(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> list[Due]:
    """Those of these timers (all of one kind) that no other transaction holds: to claim one would wait for it."""
    which = (Timer.org_id == org_id, Timer.kind == due[0].kind, Timer.subject_id.in_([one.subject_id for one in due]))
    free = set(await db.scalars(select(Timer.subject_id).where(*which).with_for_update(skip_locked=True)))
    return [one for one in due if one.subject_id in free]


def due_organisations_sql(condition: str) -> str:
    """The organisations with due timers among those that meet `condition`: an index probe each."""
    return f"""
        WITH RECURSIVE first (org_id, due_at) AS (
            (SELECT org_id, due_at FROM timers WHERE {condition} ORDER BY org_id, due_at LIMIT 1)
            UNION ALL
            SELECT following.org_id, following.due_at FROM first, LATERAL (
                SELECT org_id, due_at FROM timers
                WHERE {condition} AND org_id > first.org_id ORDER BY org_id, due_at LIMIT 1
            ) AS following
        )
        SELECT org_id FROM first WHERE due_at <= :now
        """  # noqa: S608 - the condition is one of two constants


_DUE_ORGANISATIONS = text(due_organisations_sql(f"kind <> '{DELIVER}'"))


async def run_due(database: Database, handlers: Handlers, stopping: Callable[[], bool] = bool) -> int:
    """Fire what is due, until nothing is or all the rest is busy; returns how many timers fired.

    Args:
        stopping: asked between batches; once it is true, the rest is left to the next worker.
    """

    async def serve(org_id: UUID) -> int:
        return await _run_batch(database, org_id, handlers)

    total = 0
    while True:
        async with database.session(None) as db:
            organisations = (await db.scalars(_DUE_ORGANISATIONS, {"now": real_now()})).all()
        fired = await in_turn(organisations, serve, stopping)
        total += fired
        if not fired:
            return total


async def in_turn(
    organisations: Sequence[UUID], serve: Callable[[UUID], Awaitable[int]], stopping: Callable[[], bool]
) -> int:
    """Serve each organisation once; returns how much was done, all in all.

    One that cannot be served holds up no other. Only where nothing else was done either, its failure is raised.
    """
    done, failure = 0, None
    for org_id in organisations:
        if stopping():
            return done
        try:
            done += await serve(org_id)
        except Exception as error:  # noqa: BLE001 - raised below, or again in the next round
            log.warning("organisation_not_served", org_id=str(org_id), error=type(error).__name__)
            failure = failure or error
    if failure is not None and not done:
        raise failure
    return done


async def _run_batch(database: Database, org_id: UUID, handlers: Handlers) -> int:
    """One organisation's next batch. What is busy or fails holds up no other kind."""
    kinds = list(handlers)
    while True:
        async with database.session(org_id) as db:
            due = await next_due(db, org_id, real_now(), kinds=kinds)
        if not due:
            return 0
        fired = await _fire_or_put_off(database, org_id, handlers[due[0].kind], due)
        if fired:
            return fired
        kinds.remove(due[0].kind)


async def _fire_or_put_off(database: Database, org_id: UUID, handler: Handler, due: Sequence[Due]) -> int:
    """Fire a batch. Where it fails, each timer is tried alone, and the ones that fail are put off."""
    try:
        return await _fire(database, org_id, handler, due)
    except Exception:
        log.exception("timers_failed", org_id=str(org_id), kind=due[0].kind, count=len(due))
    fired = 0
    for one in due:
        try:
            fired += await _fire(database, org_id, handler, [one])
        except Exception:
            log.exception("timer_failed", org_id=str(org_id), kind=one.kind, subject_id=str(one.subject_id))
            await _put_off(database, org_id, one)
    return fired


async def _fire(database: Database, org_id: UUID, handler: Handler, due: Sequence[Due]) -> int:
    async with database.session(org_id) as db:
        return len(await handler(db, org_id, due))


async def _put_off(database: Database, org_id: UUID, due: Due) -> None:
    async with database.session(org_id) as db:
        which = (Timer.org_id == org_id, Timer.subject_id == due.subject_id, Timer.kind == due.kind)
        attempts = await db.scalar(select(Timer.attempts).where(*which)) or 0
        due_at = real_now() + BACKOFF.wait_after(attempts + 1)
        await db.execute(update(Timer).where(*which).values(due_at=due_at, attempts=attempts + 1))


async def next_due(
    db: AsyncSession, org_id: UUID, now: datetime, *, kinds: Sequence[str], without: Collection[UUID] = ()
) -> list[Due]:
    """The organisation's earliest due timers of one kind, at most a batch, leaving out some subjects."""
    rows = await db.execute(
        select(Timer.kind, Timer.subject_id, Timer.due_at)
        .where(Timer.org_id == org_id, Timer.due_at <= now, Timer.kind != text(f"'{DELIVER}'"), Timer.kind.in_(kinds))
        .where(Timer.subject_id.not_in(without))
        .order_by(Timer.due_at, Timer.kind, Timer.subject_id)
        .limit(BATCH)
    )
    due = [Due(kind=row.kind, subject_id=row.subject_id, due_at=row.due_at, at=now) for row in rows]
    return of_the_first_kind(due)


def of_the_first_kind(due: Sequence[Due]) -> list[Due]:
    """Those of the first one's kind: one handler takes them together. What comes before on a subject stays before."""
    run: list[Due] = []
    waiting: set[UUID] = set()
    for one in due:
        if one.kind != due[0].kind:
            waiting.add(one.subject_id)
        elif one.subject_id not in waiting:
            run.append(one)
    return run


async def shift(db: AsyncSession, org_id: UUID, kinds: Sequence[str], by: timedelta) -> None:
    """Let the organisation's timers of these kinds come due earlier by as much."""
    await db.execute(
        update(Timer).where(Timer.org_id == org_id, Timer.kind.in_(kinds)).values(due_at=Timer.due_at - by)
    )


async def run_in_order(db: AsyncSession, org_id: UUID, handlers: Handlers, now: datetime) -> list[Due]:
    """Fire the organisation's due timers in this transaction, each subject's in order and with their due time for now.

    What is busy stays due. From the first event on, this holds the counter, and goes on to lock tickets: against the
    order of locks, but it never waits for one.
    """
    fired: list[Due] = []
    busy: set[UUID] = set()
    while due := await next_due(db, org_id, now, kinds=list(handlers), without=busy):
        run = [replace(one, at=one.due_at) for one in due]
        handled = await handlers[run[0].kind](db, org_id, run)
        busy |= {one.subject_id for one in run} - {one.subject_id for one in handled}
        await run_before_commit(db)  # before the next run's, so that the history keeps the order of what happened
        fired.extend(handled)
    return sorted(fired, key=lambda one: one.due_at)


async def run_rest(database: Database, org_id: UUID, handlers: Handlers, *, seconds: float) -> list[Due]:
    """Fire what was busy a moment ago, until nothing is due or the time is over."""
    fired: list[Due] = []
    give_up_at = time.monotonic() + seconds
    while True:
        async with database.session(org_id) as db:
            fired += await run_in_order(db, org_id, handlers, real_now())
            rest = await next_due(db, org_id, real_now(), kinds=list(handlers))
        if not rest or time.monotonic() > give_up_at:
            return fired
        await asyncio.sleep(LOOK_AGAIN)


async def pending(db: AsyncSession, org_id: UUID) -> tuple[int, int, datetime | None]:
    """The organisation's waiting timers, waiting deliveries, and when the earliest of all is due (real time)."""
    is_delivery = Timer.kind == DELIVER
    row = (
        await db.execute(
            select(func.count().filter(~is_delivery), func.count().filter(is_delivery), func.min(Timer.due_at)).where(
                Timer.org_id == org_id
            )
        )
    ).one()
    return row[0], row[1], row[2]
