"""Timers: each fires once and in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.models import DELIVER, Timer
from app.core.outbox.timers import TIMERS_PER_BATCH, Due
from tests.core.outbox.ringing_timers import CHIME, RING, SECOND, Bell, read_timers, set_many_timers, set_timer

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


# --- moving, stopping and counting -----------------------------------------------------------------------------------


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
