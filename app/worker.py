"""The worker: run timers, relay, deliveries and housekeeping.

The scheduler holds no business state, so any number of workers can run at the same time.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger
from prometheus_client import start_http_server
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app import wiring
from app.access.credential_changes import delete_old_changes
from app.accounts.single_use_links import service as links
from app.authentication.sessions import service as sessions
from app.authentication.social import used_states
from app.core.clock import real_now
from app.core.config import InvalidSettings, Settings
from app.core.database.pool import Database
from app.core.outbox import deliveries, relay, timers
from app.core.outbox.delivery_loop import DeliveryLoop
from app.core.outbox.failure_log import FailureLog
from app.notifications import recipient_limit
from app.operations import gauges
from app.operations.models import JobRun
from app.organisations.models import Organisation

JOB_SHUTDOWN_TIMEOUT = 3.0  # seconds for work in progress, such as a mail being sent
# Seconds between two runs of a job after commits: commits come in bursts, and one run serves a whole burst.
WAKE_UP_INTERVAL = 0.05

log = structlog.get_logger("tessera.worker")


@dataclass(frozen=True)
class Job:
    """A periodic job. With `runs_after_commits`, it also runs at once after a commit in this process."""

    run: Callable[[Worker], Awaitable[object]]
    every: float  # seconds
    runs_after_commits: bool = False


async def _run_timers(worker: Worker) -> None:
    await timers.run_due(worker.database, wiring.TIMERS, worker.is_stopping)


async def _relay_events(worker: Worker) -> None:
    await relay.relay_new_events(worker.database, wiring.SUBSCRIBERS, worker.is_stopping)


async def _send_deliveries(worker: Worker) -> None:
    await worker.delivery_loop.run()


async def _measure_backlog(worker: Worker) -> None:
    await gauges.measure(worker.database)


async def _delete_expired_rows(worker: Worker) -> None:
    now = real_now()
    before = now - timedelta(days=worker.settings.delivered_retention_days)
    async with worker.database.session(None) as db:
        await delete_old_changes(db)
        organisations = (await db.scalars(select(Organisation.id))).all()

    unfinished: list[UUID] = []

    async def delete_batch(org_id: UUID) -> int:
        async with worker.database.session(org_id) as db:
            deleted = (
                await deliveries.delete_old(db, org_id, worker.channels, before)
                + await sessions.delete_expired(db, org_id, now)
                + await links.delete_expired(db, org_id, now)
                + await used_states.delete_expired(db, org_id, now)
                + await recipient_limit.delete_expired(db, org_id, now)
            )
        if deleted:
            unfinished.append(org_id)
        return deleted

    while organisations:
        await timers.serve_each(organisations, delete_batch, worker.is_stopping)
        organisations, unfinished = unfinished, []


async def _report_runs(worker: Worker) -> None:
    await worker.report_runs()


JOBS = {
    "timers": Job(_run_timers, every=0.5, runs_after_commits=True),
    "relay": Job(_relay_events, every=0.5, runs_after_commits=True),
    "deliver": Job(_send_deliveries, every=0.5, runs_after_commits=True),
    "report": Job(_report_runs, every=2),
    "measure": Job(_measure_backlog, every=gauges.MEASUREMENT_INTERVAL),
    "housekeeping": Job(_delete_expired_rows, every=3600),
}


@dataclass
class _FinishedRun:
    finished_at: datetime
    error: str | None  # the name of the exception's class


class Worker:
    """The worker of this process, either inside the web process or alone.

    Args:
        settings: those of mail and of retention are used.
        database: the pool. Its commits trigger the jobs with `runs_after_commits`.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.channels = wiring.make_channels(settings)
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._job_locks = {name: asyncio.Lock() for name in JOBS}
        self._last_runs: dict[str, _FinishedRun] = {}
        self._failures = FailureLog("job")
        self._wake_events = {name: asyncio.Event() for name, job in JOBS.items() if job.runs_after_commits}
        self.delivery_loop = DeliveryLoop(database, self.channels, self._wake_events["deliver"].set)
        self._wake_tasks: set[asyncio.Task[None]] = set()
        self._running_jobs: set[asyncio.Future[object]] = set()
        self._stopping = False

    def is_stopping(self) -> bool:
        """Return whether the worker is shutting down, so that jobs must not start further work."""
        return self._stopping

    def start(self) -> None:
        """Start the scheduler; every job runs immediately for the first time."""
        for name, job in JOBS.items():
            trigger = IntervalTrigger(seconds=job.every)
            self._scheduler.add_job(self._run_job, trigger, args=[name], id=name, next_run_time=real_now())
        self._scheduler.start()
        self._wake_tasks = {asyncio.create_task(self._run_when_woken(name)) for name in self._wake_events}
        self.database.after_commit.append(self._wake)

    async def stop(self) -> None:
        """Wait up to `JOB_SHUTDOWN_TIMEOUT` seconds for running jobs, then cancel them.

        Unfinished work comes due again, or another worker takes it over.
        """
        self._stopping = True
        self.database.after_commit.remove(self._wake)
        self._scheduler.pause()  # first: `shutdown` would cancel running jobs before JOB_SHUTDOWN_TIMEOUT
        self._wake()  # the waiting tasks then see that the worker is stopping
        await asyncio.gather(self._stop_jobs(), self.delivery_loop.stop(JOB_SHUTDOWN_TIMEOUT))
        self._scheduler.shutdown(wait=False)

    async def _stop_jobs(self) -> None:
        try:
            async with asyncio.timeout(JOB_SHUTDOWN_TIMEOUT):
                await asyncio.gather(*self._wake_tasks)
                for lock in self._job_locks.values():
                    await lock.acquire()
        except TimeoutError:
            log.warning("worker_shutdown_timed_out")
        for job in self._running_jobs:
            job.cancel()
        await asyncio.gather(*self._running_jobs, return_exceptions=True)

    def _wake(self) -> None:
        for event in self._wake_events.values():
            event.set()

    async def _run_when_woken(self, name: str) -> None:
        while not self._stopping:
            await self._wake_events[name].wait()
            self._wake_events[name].clear()
            await self._run_job(name)
            await asyncio.sleep(WAKE_UP_INTERVAL)

    async def _run_job(self, name: str) -> None:
        async with self._job_locks[name]:
            if self._stopping:
                return
            running = asyncio.ensure_future(JOBS[name].run(self))
            self._running_jobs.add(running)
            error = None
            try:
                await running
            except Exception as failure:  # noqa: BLE001 - logged, and the job runs again
                # Without the message: `GET /jobs` shows the error to every tenant, the message may contain data of one.
                error = type(failure).__name__
                self._failures.note_failure(name, failure)
            else:
                self._failures.note_success(name)
            finally:
                self._running_jobs.discard(running)
            self._last_runs[name] = _FinishedRun(real_now(), error)

    async def report_runs(self) -> None:
        """Store each job's last run for `GET /jobs`."""
        rows = []
        for name, run in self._last_runs.items():
            job = self._scheduler.get_job(name)
            rows.append(
                {
                    "name": name,
                    "every_seconds": JOBS[name].every,
                    "last_run_at": run.finished_at,
                    "next_run_at": job.next_run_time if job else None,
                    "last_error": run.error,
                }
            )
        if not rows:
            return
        statement = insert(JobRun).values(sorted(rows, key=lambda row: str(row["name"])))
        values = {name: statement.excluded[name] for name in rows[0] if name != "name"}
        async with self.database.session(None) as db:
            await db.execute(statement.on_conflict_do_update(index_elements=[JobRun.name], set_=values))


async def run_worker(settings: Settings) -> None:
    """Run a worker until SIGTERM or Ctrl-C, then let it finish its work in progress."""
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    if settings.worker_metrics_port:
        _serve_metrics(settings.host, settings.worker_metrics_port)
    database = wiring.make_database(settings)
    worker = Worker(settings, database)
    worker.start()
    sys.stdout.write("The worker is running. Press Ctrl-C to stop.\n")
    sys.stdout.flush()
    await stop_requested.wait()
    await worker.stop()
    await database.dispose()


def _serve_metrics(host: str, port: int) -> None:
    try:
        start_http_server(port, host)
    except OSError as error:
        raise InvalidSettings(
            f"WORKER_METRICS_PORT: cannot serve on {host}:{port} ({error.strerror}): choose another"
        ) from None
