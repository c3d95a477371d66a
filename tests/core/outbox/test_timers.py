"""Timers: each fires once and in order, and failures and locks do not delay others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.backoff import TIMER_BACKOFF
from app.core.outbox.models import DELIVER, Timer
from app.core.outbox.timers import TIMERS_PER_BATCH, Due
from tests.databases import ensure_counter, open_pool

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

RING, CHIME = "RING", "CHIME"
SECOND = timedelta(seconds=1)


@dataclass
class Bell:
    """A handler that remembers its timers and batches. It can fail, or leave subjects out as if they were locked."""

    rung: list[tuple[UUID, UUID]] = field(default_factory=list)
    batches: list[tuple[UUID, int]] = field(default_factory=list)
    failing: set[UUID] = field(default_factory=set)
    busy: set[UUID] = field(default_factory=set)
    pause: float = 0.0  # seconds

    async def __call__(self, db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
        fired = await timers.delete_due(db, org_id, [one for one in due if one.subject_id not in self.busy])
        await asyncio.sleep(self.pause)
        if any(one.subject_id in self.failing for one in fired):
            raise ArithmeticError
        self.rung.extend((org_id, one.subject_id) for one in fired)
        self.batches.append((org_id, len(fired)))
        return fired

    def subjects(self) -> list[UUID]:
        return [subject for _, subject in self.rung]


async def set_timer(
    database: Database, org_id: UUID, *, ago: timedelta = SECOND, kind: str = RING, subject: UUID | None = None
) -> UUID:
    subject = subject or uuid4()
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        await timers.set_timers(db, org_id, subject, {kind: real_now() - ago})
    return subject


async def set_many_timers(database: Database, org_id: UUID, count: int, kind: str = RING) -> list[UUID]:
    subjects, now = [uuid4() for _ in range(count)], real_now() - timedelta(hours=1)
    rows = [
        {"org_id": org_id, "subject_id": subject, "kind": kind, "due_at": now + timedelta(milliseconds=place)}
        for place, subject in enumerate(subjects)
    ]
    async with database.session(org_id) as db:
        await ensure_counter(db, org_id)
        await db.execute(insert(Timer), rows)
    return subjects


async def read_timers(database: Database, org_id: UUID) -> dict[UUID, Timer]:
    async with database.session(org_id) as db:
        return {timer.subject_id: timer for timer in await db.scalars(select(Timer).where(Timer.org_id == org_id))}


# --- firing once -----------------------------------------------------------------------------------------------------


async def test_a_timer_fires_once_when_it_is_due(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    due = await set_timer(pool, org_id)
    later = await set_timer(pool, org_id, ago=-timedelta(minutes=1))

    assert await timers.run_due(pool, {RING: bell}) == 1
    assert await timers.run_due(pool, {RING: bell}) == 0
    assert bell.rung == [(org_id, due)]
    assert set(await read_timers(pool, org_id)) == {later}


async def test_two_workers_at_once_fire_each_timer_once(pool: Database) -> None:
    organisations = [uuid4() for _ in range(4)]
    expected = {
        (org_id, subject)
        for org_id in organisations
        for subject in await set_many_timers(pool, org_id, TIMERS_PER_BATCH + 200)
    }
    bell = Bell(pause=0.01)

    fired = await asyncio.gather(*(timers.run_due(pool, {RING: bell}) for _ in range(2)))

    assert Counter(bell.rung) == Counter(expected)
    assert sum(fired) == len(expected)


async def test_a_timer_that_was_moved_meanwhile_does_not_fire(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    subject = await set_timer(pool, org_id)
    async with pool.session(org_id) as db:
        due = await timers.find_next_due(db, org_id, real_now(), kinds=[RING])
    await set_timer(pool, org_id, ago=-timedelta(days=30), subject=subject)
    async with pool.session(org_id) as db:
        assert await bell(db, org_id, due) == []

    assert set(await read_timers(pool, org_id)) == {subject}


async def test_a_cancelled_timer_does_not_fire(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    cancelled, kept = await set_timer(pool, org_id), await set_timer(pool, org_id)
    async with pool.session(org_id) as db:
        await timers.cancel(db, org_id, cancelled, [RING])
        await timers.cancel(db, org_id, kept, [CHIME])

    await timers.run_due(pool, {RING: bell})
    assert bell.subjects() == [kept]


async def test_setting_a_timer_again_moves_it_and_resets_its_attempts(pool: Database) -> None:
    org_id = uuid4()
    subject = await set_timer(pool, org_id)
    async with pool.session(org_id) as db:
        await db.execute(update(Timer).where(Timer.org_id == org_id).values(attempts=7))
    await set_timer(pool, org_id, ago=-timedelta(hours=2), subject=subject)

    timer = (await read_timers(pool, org_id))[subject]
    assert timer.attempts == 0
    assert timer.due_at > real_now() + timedelta(hours=1)


async def test_a_failing_handler_is_rolled_back_with_its_timers(pool: Database) -> None:
    org_id, subject = uuid4(), uuid4()
    await set_timer(pool, org_id, subject=subject)

    async def write_and_fail(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
        await timers.delete_due(db, org_id, due)
        await timers.set_timers(db, org_id, uuid4(), {CHIME: real_now()})
        raise ArithmeticError

    with capture_logs():
        await timers.run_due(pool, {RING: write_and_fail})
    assert set(await read_timers(pool, org_id)) == {subject}


# --- order -----------------------------------------------------------------------------------------------------------


async def test_timers_of_a_kind_fire_together_in_the_order_of_their_due_times(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    places = [(5, RING), (1, CHIME), (4, CHIME), (3, RING), (2, RING)]
    subjects = {ago: await set_timer(pool, org_id, ago=ago * SECOND, kind=kind) for ago, kind in places}

    assert await timers.run_due(pool, {RING: bell, CHIME: bell}) == 5
    assert bell.subjects() == [subjects[ago] for ago in (5, 3, 2, 4, 1)]
    assert bell.batches == [(org_id, 3), (org_id, 2)]


async def test_the_timers_of_a_subject_fire_in_order(pool: Database) -> None:
    org_id, bells, chimes = uuid4(), Bell(), Bell()
    subject = await set_timer(pool, org_id, ago=4 * SECOND, kind=CHIME)
    await set_timer(pool, org_id, ago=3 * SECOND, kind=RING, subject=subject)
    earlier = await set_timer(pool, org_id, ago=5 * SECOND, kind=RING)

    async def ring(db: AsyncSession, org_id: UUID, due: Sequence[Due]) -> Sequence[Due]:
        if subject in {one.subject_id for one in due}:
            assert chimes.subjects() == [subject]
        return await bells(db, org_id, due)

    assert await timers.run_due(pool, {RING: ring, CHIME: chimes}) == 3
    assert bells.subjects() == [earlier, subject]


async def test_a_locked_subject_does_not_delay_others_when_a_clock_is_moved(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    subjects = [await set_timer(pool, org_id, ago=ago * SECOND) for ago in (3, 2, 1)]
    bell.busy = {subjects[0]}
    async with pool.session(org_id) as db:
        fired = await timers.run_due_in_order(db, org_id, {RING: bell}, real_now())
    assert [one.subject_id for one in fired] == subjects[1:]

    async def free() -> None:
        await asyncio.sleep(0.2)
        bell.busy.clear()

    rest, _ = await asyncio.gather(timers.run_remaining(pool, org_id, {RING: bell}, seconds=5), free())
    assert [one.subject_id for one in rest] == subjects[:1]


async def test_waiting_for_a_locked_subject_ends_after_the_given_time(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    bell.busy = {await set_timer(pool, org_id)}

    assert await timers.run_remaining(pool, org_id, {RING: bell}, seconds=0.1) == []


async def test_a_backlog_of_one_organisation_does_not_starve_another(pool: Database) -> None:
    busy, others = uuid4(), [uuid4() for _ in range(3)]
    await set_many_timers(pool, busy, 3 * TIMERS_PER_BATCH)
    for org_id in others:
        await set_timer(pool, org_id)
    bell = Bell()

    await timers.run_due(pool, {RING: bell})

    first_round = bell.batches[:4]
    assert {org_id for org_id, _ in first_round} == {busy, *others}
    assert bell.batches[4:] == [(busy, TIMERS_PER_BATCH), (busy, TIMERS_PER_BATCH)]


async def test_deliveries_and_kinds_without_a_handler_are_left_alone(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    delivery = await set_timer(pool, org_id, kind=DELIVER)
    unknown = await set_timer(pool, org_id, kind="OF_A_LATER_VERSION", ago=timedelta(hours=1))
    due = await set_timer(pool, org_id)

    assert await timers.run_due(pool, {RING: bell}) == 1
    assert bell.subjects() == [due]
    assert set(await read_timers(pool, org_id)) == {delivery, unknown}


# --- failures and locks ----------------------------------------------------------------------------------------------


async def test_a_failing_timer_is_postponed_without_affecting_others(pool: Database) -> None:
    org_id = uuid4()
    subjects = await set_many_timers(pool, org_id, 20)
    bell = Bell(failing={subjects[3], subjects[11]})

    with capture_logs() as logs:
        fired = await timers.run_due(pool, {RING: bell})

    assert fired == 18
    assert set(bell.subjects()) == set(subjects) - bell.failing
    remaining = await read_timers(pool, org_id)
    assert set(remaining) == bell.failing
    assert {timer.attempts for timer in remaining.values()} == {1}
    logged = [line["subject_id"] for line in logs if line["event"] == "timer_failed"]
    assert set(logged) == {str(subject) for subject in bell.failing}


@pytest.mark.parametrize("wrong", ["a missing file", "no answer in time", "SELECT no_column FROM timers"])
async def test_an_error_that_is_no_outage_postpones_the_timer(pool: Database, wrong: str) -> None:
    async def fail(db: AsyncSession, _org_id: UUID, _due: Sequence[Due]) -> Sequence[Due]:
        if wrong.startswith("SELECT"):
            await db.execute(text(wrong))
        raise FileNotFoundError if wrong == "a missing file" else TimeoutError

    org_id, bell = uuid4(), Bell()
    failing = await set_timer(pool, org_id, ago=2 * SECOND, kind=CHIME)
    after_it = await set_timer(pool, org_id)

    with capture_logs():
        assert await timers.run_due(pool, {CHIME: fail, RING: bell}) == 1
    assert bell.subjects() == [after_it]
    assert (await read_timers(pool, org_id))[failing].attempts == 1


async def test_the_wait_of_a_failing_timer_doubles_up_to_an_hour(pool: Database) -> None:
    org_id = uuid4()
    subject = await set_timer(pool, org_id)
    bell, waits = Bell(failing={subject}), []
    for _ in range(14):
        before = real_now()
        with capture_logs():
            await timers.run_due(pool, {RING: bell})
        waits.append((await read_timers(pool, org_id))[subject].due_at - before)
        async with pool.session(org_id) as db:
            await db.execute(update(Timer).where(Timer.org_id == org_id).values(due_at=before - SECOND))

    expected = [min(TIMER_BACKOFF.first * 2**n, TIMER_BACKOFF.cap) for n in range(14)]
    assert all(timedelta(0) <= wait - least < SECOND for wait, least in zip(waits, expected, strict=True)), waits


async def test_a_failing_timer_does_not_delay_later_timers_or_other_organisations(pool: Database) -> None:
    failing, fine, bell = uuid4(), uuid4(), Bell()
    first = await set_timer(pool, failing, ago=3 * SECOND, kind=CHIME)
    after_it = await set_timer(pool, failing, ago=2 * SECOND)
    elsewhere = await set_timer(pool, fine)

    with capture_logs():
        await timers.run_due(pool, {CHIME: Bell(failing={first}), RING: bell})
    assert set(bell.subjects()) == {after_it, elsewhere}


async def test_a_timer_of_a_locked_subject_stays_due_without_delaying_others(pool: Database) -> None:
    org_id = uuid4()
    waiting = await set_timer(pool, org_id, ago=3 * SECOND, kind=CHIME)
    after_it = await set_timer(pool, org_id, ago=2 * SECOND)
    chime, bell = Bell(busy={waiting}), Bell()
    handlers = {CHIME: chime, RING: bell}

    assert await timers.run_due(pool, handlers) == 1
    assert bell.subjects() == [after_it]
    timer = (await read_timers(pool, org_id))[waiting]
    assert timer.attempts == 0
    assert timer.due_at < real_now()

    chime.busy.clear()
    assert await timers.run_due(pool, handlers) == 1
    assert chime.subjects() == [waiting]


async def test_a_later_timer_of_a_subject_does_not_overtake_an_earlier_one_that_was_locked(pool: Database) -> None:
    org_id, ring, chime = uuid4(), Bell(), Bell()
    subject = await set_timer(pool, org_id, ago=2 * SECOND)
    await set_timer(pool, org_id, kind=CHIME, subject=subject)
    other = await set_timer(pool, org_id, kind=CHIME)
    ring.busy.add(subject)

    assert await timers.run_due(pool, {RING: ring, CHIME: chime}) == 1
    assert chime.subjects() == [other]
    ring.busy.clear()
    assert await timers.run_due(pool, {RING: ring, CHIME: chime}) == 2
    assert chime.subjects() == [other, subject]


async def test_a_later_timer_waits_for_an_earlier_one_that_was_set_while_the_kind_of_that_was_locked(
    pool: Database,
) -> None:
    org_id, chime = uuid4(), Bell()
    locked, subject = await set_timer(pool, org_id, ago=2 * SECOND), uuid4()

    async def find_locked(_db: AsyncSession, _org_id: UUID, _due: Sequence[Due]) -> Sequence[Due]:
        if subject not in ringing:
            ringing.append(subject)
            await set_timer(pool, org_id, ago=SECOND, subject=subject)
            await set_timer(pool, org_id, kind=CHIME, subject=subject)
        return []

    ringing: list[UUID] = []
    assert await timers.run_due(pool, {RING: find_locked, CHIME: chime}) == 0
    assert chime.subjects() == []
    assert await timers.run_due(pool, {RING: (ring := Bell()), CHIME: chime}) == 3
    assert (ring.subjects(), chime.subjects()) == ([locked, subject], [subject])


async def test_a_failing_organisation_does_not_delay_others(own_database: TestServer, superuser: Superuser) -> None:
    """Another transaction locks its timers all the time, so they can be neither deleted nor postponed."""
    stuck, fine = sorted((uuid4(), uuid4()))
    bell = Bell()
    async with open_pool(own_database, statement_timeout=0.2) as pool:
        await set_timer(pool, stuck)
        elsewhere = await set_timer(pool, fine)
        with capture_logs() as logs:
            async with superuser.transaction():
                await superuser.execute("SELECT 1 FROM timers WHERE org_id = $1 FOR UPDATE", stuck)
                with pytest.raises(DBAPIError):
                    await timers.run_due(pool, {RING: bell})
        assert bell.subjects() == [elsewhere]
        assert str(stuck) in {line["org_id"] for line in logs if line["event"] == "organisation_not_served"}

        assert await timers.run_due(pool, {RING: bell}) == 1


async def test_moving_the_clock_of_an_organisation_fires_its_timers_in_order(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    subjects = [await set_timer(pool, org_id, ago=-timedelta(days=days)) for days in (3, 1, 40)]
    chime = await set_timer(pool, org_id, ago=-timedelta(days=2), kind=CHIME)
    async with pool.session(org_id) as db:
        await timers.bring_forward(db, org_id, [RING], by=timedelta(days=30))
        fired = await timers.run_due_in_order(db, org_id, {RING: bell}, real_now())

    assert [one.subject_id for one in fired] == [subjects[1], subjects[0]]
    assert all(one.at == one.due_at for one in fired)
    assert set(await read_timers(pool, org_id)) == {subjects[2], chime}


async def test_a_stopping_worker_leaves_the_rest_to_the_next_one(pool: Database) -> None:
    org_id, bell = uuid4(), Bell()
    await set_many_timers(pool, org_id, 2 * TIMERS_PER_BATCH)

    def is_stopping() -> bool:
        return bool(bell.batches)

    assert await timers.run_due(pool, {RING: bell}, is_stopping) == TIMERS_PER_BATCH
    assert len(await read_timers(pool, org_id)) == TIMERS_PER_BATCH


async def test_pending_timers_and_deliveries_are_counted_separately(pool: Database) -> None:
    org_id = uuid4()
    due_at: datetime = real_now() - timedelta(hours=1)
    await set_timer(pool, org_id, ago=-timedelta(days=1))
    await set_timer(pool, org_id, kind=DELIVER, ago=timedelta(hours=1))
    async with pool.session(org_id) as db:
        waiting, deliveries, oldest = await timers.measure_pending(db, org_id)
    assert (waiting, deliveries) == (1, 1)
    assert oldest is not None
    assert abs(oldest - due_at) < SECOND
