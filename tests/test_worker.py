"""The worker in a process: its latency, its shutdown and its reports."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, func, insert, select, text, update
from structlog.testing import capture_logs

from app import wiring
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM, Event, record
from app.core.outbox.models import DELIVER, Counter, Delivery, Relay, Timer
from app.core.outbox.relay_retries import RELAY_RETRY
from app.notifications import mails
from app.notifications.mails import MailDraft
from app.operations.models import JobRun
from app.worker import JOB_SHUTDOWN_TIMEOUT, JOBS, Worker
from tests.conftest import settings_for
from tests.databases import create_organisation, create_test_database, eventually, open_pool, superuser_connection
from tests.smtp_server import SmtpServer, running_smtp_server

if TYPE_CHECKING:
    from tests.postgres import TestServer


class SampleEvent(Event):
    type: ClassVar[str] = "test_worker.happened"


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "worker")


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    async with open_pool(own_database, before_commit=wiring.NUMBERING) as database:
        async with database.session(None) as db:
            await db.execute(delete(Timer))
            await db.execute(delete(JobRun))
        yield database


@pytest.fixture
async def smtp_server() -> AsyncIterator[SmtpServer]:
    async with running_smtp_server() as smtp_server:
        yield smtp_server


@asynccontextmanager
async def running_worker(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer, **changes: object
) -> AsyncIterator[Worker]:
    """Run a worker, and wait until its first runs are complete."""
    worker = Worker(settings_for(own_database, smtp_url=smtp_server.url, **changes), pool)
    worker.start()
    await asyncio.sleep(0.2)
    try:
        yield worker
    finally:
        if not worker.is_stopping():
            await worker.stop()


async def queue_mail(database: Database, org_id: UUID, count: int = 1) -> None:
    async with database.session(org_id) as db:
        drafts = [MailDraft(recipient=f"mia{n}@customer.example", subject="Reply", text="Hello") for n in range(count)]
        await mails.queue(db, org_id, drafts)


async def record_event(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        record(db, SampleEvent(at=real_now(), actor=SYSTEM))


async def is_relayed(database: Database, org_id: UUID) -> bool:
    async with database.session(org_id) as db:
        behind = select(Counter.last_event - Relay.last_seq).join(Relay, Relay.org_id == Counter.org_id)
        return await db.scalar(behind.where(Counter.org_id == org_id)) == 0


async def seconds_until_relayed(committed_on: Database, watched_on: Database, org_id: UUID) -> float:
    await record_event(committed_on, org_id)
    started = time.monotonic()
    assert await eventually(lambda: is_relayed(watched_on, org_id), every=0.005)
    return time.monotonic() - started


async def test_an_event_of_the_same_process_is_relayed_immediately(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    org_id = await create_organisation(pool)
    async with running_worker(own_database, pool, smtp_server):
        took = []
        for _ in range(5):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            took.append(await seconds_until_relayed(pool, pool, org_id))
    assert sorted(took)[2] < 0.3, took  # the schedule alone would take a quarter of a second on average
    assert max(took) < 1, took


async def test_an_event_of_another_process_is_relayed_within_about_a_second(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    org_id = await create_organisation(pool)
    async with open_pool(own_database) as elsewhere, running_worker(own_database, pool, smtp_server):
        await asyncio.sleep(random.uniform(0, 1))
        took = [await seconds_until_relayed(elsewhere, elsewhere, org_id) for _ in range(3)]
    assert max(took) < 1.3, took  # one second, plus the time of the run itself on a busy machine


async def test_a_mail_of_the_same_process_is_sent_immediately(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    async with running_worker(own_database, pool, smtp_server):
        started = time.monotonic()
        await queue_mail(pool, await create_organisation(pool))

        async def is_received() -> bool:
            return bool(smtp_server.received)

        assert await eventually(is_received)
        assert smtp_server.received[0].at - started < 1


async def test_a_stopping_worker_finishes_its_mail_and_releases_the_others(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    org_id, smtp_server.delay = await create_organisation(pool), 0.05
    async with running_worker(own_database, pool, smtp_server) as worker:
        await queue_mail(pool, org_id, 40)

        async def has_started() -> bool:
            return len(smtp_server.received) >= 2

        assert await eventually(has_started)
        started = time.monotonic()
        await worker.stop()
        assert time.monotonic() - started < JOB_SHUTDOWN_TIMEOUT
    sent = len(smtp_server.received)
    assert sent < 40
    async with pool.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.kind == DELIVER, Timer.due_at <= real_now())
        assert await db.scalar(select(func.count()).select_from(Timer).where(*conditions)) == 40 - sent
        assert await db.scalar(select(func.count()).where(Delivery.org_id == org_id, Delivery.status == "SENT")) == sent


async def test_a_stopping_worker_does_not_wait_for_a_hanging_mail_server(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    org_id = await create_organisation(pool)
    smtp_server.pause()
    async with running_worker(own_database, pool, smtp_server) as worker:
        await queue_mail(pool, org_id, 10)

        async def a_mail_is_being_sent() -> bool:
            return smtp_server.max_open == 1  # a lane begins with one

        assert await eventually(a_mail_is_being_sent)
        started = time.monotonic()
        with capture_logs():
            await worker.stop()
        assert time.monotonic() - started < JOB_SHUTDOWN_TIMEOUT + 1
    smtp_server.resume()
    async with pool.session(org_id) as db:
        conditions = (Timer.org_id == org_id, Timer.kind == DELIVER, Timer.due_at <= real_now())
        assert await db.scalar(select(func.count()).select_from(Timer).where(*conditions)) == 9


async def test_a_worker_stops_quickly_during_a_long_backlog(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    """Many organisations have a due timer each, and each takes a moment."""
    rows = [{"org_id": uuid4(), "subject_id": new_id(), "kind": RELAY_RETRY, "due_at": real_now()} for _ in range(5000)]
    async with pool.session(None) as db:
        await db.execute(insert(Timer), rows)
    async with running_worker(own_database, pool, smtp_server) as worker:
        started = time.monotonic()
        with capture_logs() as logs:
            await worker.stop()
        assert time.monotonic() - started < 1
    assert [line["event"] for line in logs] == []


async def test_the_last_run_of_each_job_is_reported(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    before = real_now()

    async def read_runs() -> dict[str, JobRun]:
        async with pool.session(None) as db:
            return {run.name: run for run in await db.scalars(select(JobRun))}

    async def are_all_reported() -> bool:
        await worker.report_runs()
        return set(JOBS) <= set(await read_runs())

    async with running_worker(own_database, pool, smtp_server) as worker:
        assert await eventually(are_all_reported)
        for run in (await read_runs()).values():
            assert run.every_seconds == JOBS[run.name].every
            assert before <= run.last_run_at <= real_now()
            assert run.next_run_at is not None
            assert run.last_error is None


async def test_a_failing_job_is_reported_retried_and_does_not_affect_others(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    async def error_of(name: str) -> str | None:
        await worker.report_runs()
        async with pool.session(None) as db:
            return await db.scalar(select(JobRun.last_error).where(JobRun.name == name))

    async def has_failed() -> bool:
        return await error_of("relay") == "ProgrammingError"

    async def has_recovered() -> bool:
        return await error_of("relay") is None

    org_id = await create_organisation(pool)
    async with (
        superuser_connection(own_database) as superuser,
        running_worker(own_database, pool, smtp_server) as worker,
    ):
        with capture_logs() as logs:
            await superuser.execute("REVOKE SELECT ON relays FROM tessera_service")
            assert await eventually(has_failed)
            await queue_mail(pool, org_id)
            assert await eventually(lambda: has_mail(smtp_server))
            await superuser.execute("GRANT SELECT ON relays TO tessera_service")
            assert await eventually(has_recovered)
    assert {line["job"] for line in logs if line["event"] == "job_failed"} == {"relay"}


async def has_mail(smtp_server: SmtpServer) -> bool:
    return bool(smtp_server.received)


async def test_the_backlog_is_measured(own_database: TestServer, pool: Database, smtp_server: SmtpServer) -> None:
    org_id = await create_organisation(pool)
    async with pool.session(org_id) as db:
        due_at = real_now() - timedelta(minutes=2)
        rows = [{"org_id": org_id, "subject_id": new_id(), "kind": "OF_A_LATER_VERSION", "due_at": due_at}]
        await db.execute(insert(Timer), rows)
        later = real_now() + timedelta(hours=1)
        delivery = {"org_id": org_id, "subject_id": new_id(), "kind": DELIVER, "due_at": later}
        await db.execute(insert(Timer), [delivery])
    async with running_worker(own_database, pool, smtp_server):
        assert await eventually(lambda: is_measured("tessera_timers_overdue", 1))
        assert await is_measured("tessera_deliveries_queued", 1)
        age = REGISTRY.get_sample_value("tessera_deliveries_oldest_seconds")
        assert age is not None
        assert 0 <= age < 30


async def is_measured(name: str, value: float) -> bool:
    return REGISTRY.get_sample_value(name) == value


async def test_housekeeping_deletes_deliveries_older_than_the_setting(
    own_database: TestServer, pool: Database, smtp_server: SmtpServer
) -> None:
    organisations = [await create_organisation(pool) for _ in range(2)]
    for org_id in organisations:
        await queue_mail(pool, org_id, 3)
        async with pool.session(org_id) as db:
            condition = Delivery.org_id == org_id
            old = real_now() - timedelta(days=8)
            await db.execute(update(Delivery).where(condition).values(status="SENT", created_at=old))
            await db.execute(text("DELETE FROM timers"))
        await queue_mail(pool, org_id, 1)

    async def only_recent_ones_are_left() -> bool:
        remaining = []
        for org_id in organisations:
            async with pool.session(org_id) as db:
                remaining.append(await db.scalar(select(func.count()).where(Delivery.org_id == org_id)))
        return remaining == [1, 1]

    assert not await only_recent_ones_are_left()
    async with running_worker(own_database, pool, smtp_server, delivered_retention_days=7):
        assert await eventually(only_recent_ones_are_left)
