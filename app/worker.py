"""The worker: what Tessera does by itself. The scheduler holds no business state; any number may run side by side."""

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
from app.accounts.single_use_links import service as links
from app.authentication.sessions import service as sessions
from app.core.clock import real_now
from app.core.config import InvalidSettings, Settings
from app.core.database.pool import Database
from app.core.outbox import deliveries, relay, timers
from app.operations import gauges
from app.operations.models import JobRun
from app.organisations.models import Organisation

STOP_WITHIN = 3.0  # seconds for what is under way, such as a mail that is being sent
# Commits come in bursts: one pass serves all of a moment's.
PAUSE_BETWEEN_PASSES = 0.05  # seconds

log = structlog.get_logger("tessera.worker")


@dataclass(frozen=True)
class Job:
    """Something the scheduler starts every so many seconds; a commit in this process starts the prompt ones at once."""

    run: Callable[[Worker], Awaitable[object]]
    every: float  # seconds
    prompt: bool = False


async def _timers(worker: Worker) -> None:
    await timers.run_due(worker.database, wiring.TIMERS, worker.is_stopping)


async def _relay(worker: Worker) -> None:
    await relay.relay_new(worker.database, wiring.SUBSCRIBERS, worker.is_stopping)


async def _deliver(worker: Worker) -> None:
    await deliveries.deliver_due(worker.database, worker.channels, worker.is_stopping)


async def _measure(worker: Worker) -> None:
    await gauges.measure(worker.database)


async def _forget_what_is_over(worker: Worker) -> None:
    now = real_now()
    before = now - timedelta(days=worker.settings.delivered_retention_days)
    async with worker.database.session(None) as db:
        organisations = (await db.scalars(select(Organisation.id))).all()

    async def forget(org_id: UUID) -> int:
        async with worker.database.session(org_id) as db:
            return (
                await deliveries.delete_old(db, org_id, worker.channels, before)
                + await sessions.delete_expired(db, org_id, now)
                + await links.delete_expired(db, org_id, now)
            )

    while await timers.in_turn(organisations, forget, worker.is_stopping):
        pass  # until an organisation's batch after the other has found nothing more


async def _report_runs(worker: Worker) -> None:
    await worker.report_runs()


JOBS = {
    "timers": Job(_timers, every=0.5, prompt=True),
    "relay": Job(_relay, every=0.5, prompt=True),
    "deliver": Job(_deliver, every=0.5, prompt=True),
    "report": Job(_report_runs, every=2),
    "measure": Job(_measure, every=gauges.EVERY),
    "housekeeping": Job(_forget_what_is_over, every=3600),
}


@dataclass
class _Run:
    at: datetime
    error: str | None


class Worker:
    """One per process that runs it, inside the web process or alone.

    Args:
        settings: mail, retention.
        database: woken by its commits.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.channels = wiring.channels(settings)
        self._scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._turns = {name: asyncio.Lock() for name in JOBS}
        self._runs: dict[str, _Run] = {}
        self._woken = {name: asyncio.Event() for name, job in JOBS.items() if job.prompt}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Future[object]] = set()
        self._stopping = False

    def is_stopping(self) -> bool:
        """Whether to begin nothing new."""
        return self._stopping

    def start(self) -> None:
        """Begin; what waits is looked at at once."""
        for name, job in JOBS.items():
            trigger = IntervalTrigger(seconds=job.every)
            self._scheduler.add_job(self._run, trigger, args=[name], id=name, next_run_time=real_now())
        self._scheduler.start()
        self._tasks = {asyncio.create_task(self._run_when_woken(name)) for name in self._woken}
        self.database.after_commit.append(self._wake)

    async def stop(self) -> None:
        """Finish what is under way, within `STOP_WITHIN` seconds; the rest is another worker's or comes due again."""
        self._stopping = True
        self.database.after_commit.remove(self._wake)
        self._scheduler.pause()  # to shut it down would cancel what is running
        self._wake()
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await asyncio.gather(*self._tasks)
                for turn in self._turns.values():
                    await turn.acquire()
        except TimeoutError:
            log.warning("worker_stopped_midway")
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._scheduler.shutdown(wait=False)

    def _wake(self) -> None:
        for woken in self._woken.values():
            woken.set()

    async def _run_when_woken(self, name: str) -> None:
        while not self._stopping:
            await self._woken[name].wait()
            self._woken[name].clear()
            await self._run(name)
            await asyncio.sleep(PAUSE_BETWEEN_PASSES)

    async def _run(self, name: str) -> None:
        async with self._turns[name]:
            if self._stopping:
                return
            running = asyncio.ensure_future(JOBS[name].run(self))
            self._running.add(running)
            error = None
            try:
                await running
            except Exception as failure:  # noqa: BLE001 - noted, and tried again at the next turn
                error = type(failure).__name__  # what it says may be about one tenant, and all of them read this
                self._note(name, failure)
            finally:
                self._running.discard(running)
            self._runs[name] = _Run(real_now(), error)

    def _note(self, name: str, failure: Exception) -> None:
        """Log a failure once, with where it came from, for as long as it repeats itself."""
        previous = self._runs.get(name)
        if previous is None or previous.error != type(failure).__name__:
            log.warning("job_failed", job=name, exc_info=failure)

    async def report_runs(self) -> None:
        """Note when each job ran last, for `GET /jobs`."""
        rows = []
        for name, run in self._runs.items():
            job = self._scheduler.get_job(name)
            rows.append(
                {
                    "name": name,
                    "every_seconds": JOBS[name].every,
                    "last_run_at": run.at,
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
    """Run until SIGTERM or Ctrl-C, then finish what is under way."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if settings.worker_metrics_port:
        _serve_metrics(settings.host, settings.worker_metrics_port)
    database = wiring.connect(settings)
    worker = Worker(settings, database)
    worker.start()
    sys.stdout.write("The worker is running. Ctrl-C stops it.\n")
    sys.stdout.flush()
    await stopped.wait()
    await worker.stop()
    await database.dispose()


def _serve_metrics(host: str, port: int) -> None:
    try:
        start_http_server(port, host)
    except OSError as error:
        raise InvalidSettings(
            f"WORKER_METRICS_PORT: cannot serve on {host}:{port} ({error.strerror}): choose another"
        ) from None
