"""Timers that fail or whose subjects are locked: they wait, and do not delay others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox import timers
from app.core.outbox.backoff import TIMER_BACKOFF
from app.core.outbox.models import Timer
from app.core.outbox.timers import Due
from tests.core.outbox.ringing_timers import CHIME, RING, SECOND, Bell, read_timers, set_many_timers, set_timer
from tests.databases import open_pool

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer


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
