"""Measure a worker without a backlog: its housekeeping, its cost while idle, and its delay from a commit to a mail."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from app.core.embedded.sockets import SERVICE
from benchmarks import processes, requests
from benchmarks.data import Dataset, connected
from benchmarks.measure import backend_cpu_seconds, cpu_seconds
from benchmarks.processes import Place
from benchmarks.requests import CREATE, Request

MAX_HOUSEKEEPING = 1800  # seconds
SECONDS = 20  # of idling
MAILS = 20  # measured delays
POLL_INTERVAL = 0.005  # seconds
MAX_DELAY = 15.0  # seconds
SETTLING = 1.0  # seconds after a mail, in which the other mails of the ticket are sent


_HOUSEKEEPING_RUN = "SELECT EXISTS (SELECT FROM job_runs WHERE name = 'housekeeping')"


@dataclass(frozen=True)
class Idle:
    """The cost of an idle worker in CPU seconds per second, and the delays of mails in milliseconds.

    `housekeeping` is the CPU time of the worker's first seconds, until it has finished its housekeeping: it starts with
    that, and repeats it every hour. It includes the database's.
    """

    housekeeping: float
    worker: float
    database: float
    delays: Sequence[float]

    @property
    def delay(self) -> float:
        """The median delay."""
        return median(self.delays)


def measure(content: Dataset) -> Idle:
    """Run a worker, first with nothing to do, and then with one new ticket at a time."""
    key = processes.new_key()
    opened = requests.make(content, key, CREATE)[:MAILS]
    with processes.place(content.address.service_url, key) as where:
        asyncio.run(_forget_runs(content))
        with processes.worker(where) as worker:
            asyncio.run(_wait_for_housekeeping(content))
            first, started = (cpu_seconds(worker), backend_cpu_seconds(content.pid, SERVICE)), time.perf_counter()
            time.sleep(SECONDS)
            last, seconds = (
                (cpu_seconds(worker), backend_cpu_seconds(content.pid, SERVICE)),
                time.perf_counter() - started,
            )
            with processes.service(where) as web:
                delays = [_open_and_wait(where, web.port, request) for request in opened]
    return Idle(sum(first), (last[0] - first[0]) / seconds, (last[1] - first[1]) / seconds, delays)


async def _forget_runs(content: Dataset) -> None:
    async with connected(content.address) as connection:
        await connection.execute("TRUNCATE job_runs")


async def _wait_for_housekeeping(content: Dataset) -> None:
    async with connected(content.address) as connection, asyncio.timeout(MAX_HOUSEKEEPING):
        while not await connection.fetchval(_HOUSEKEEPING_RUN):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)


def _open_and_wait(where: Place, port: int, request: Request) -> float:
    """Open a ticket; return the milliseconds from the response to the first mail."""
    mails = where.mails
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request(request.method, request.path, request.body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != http.HTTPStatus.CREATED:
        raise RuntimeError(f"the ticket was not created: {response.status}")
    responded = time.perf_counter()
    while where.mails == mails:
        if time.perf_counter() > responded + MAX_DELAY:
            raise RuntimeError("the worker sends no mail")
        time.sleep(POLL_INTERVAL)
    delay = (time.perf_counter() - responded) * 1e3
    time.sleep(SETTLING)
    return delay
