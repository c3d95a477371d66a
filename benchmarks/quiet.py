"""Clients that send one request at a time, and the latency of each of their requests."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import cycle

from benchmarks import load
from benchmarks.load import Load
from benchmarks.requests import Request

PAUSE = 0.005  # seconds between a response and the next request
TIMEOUT = 30.0  # seconds
MARGIN = 0.5  # seconds after the start of the load and before its end, in which the clients send nothing


@dataclass
class Latencies:
    """The latencies of successful requests in milliseconds, and the number of those that failed."""

    times: list[float] = field(default_factory=list)
    failed: int = 0

    def percentile(self, percent: int) -> float:
        """Return a percentile of the latencies. A failed request counts as one that never ends."""
        times = sorted(self.times) + [math.inf] * self.failed
        if not times:
            return math.nan
        return times[min(len(times) - 1, len(times) * percent // 100)]

    def extend(self, other: Latencies) -> None:
        """Add the requests of another run."""
        self.times += other.times
        self.failed += other.failed


def run_beside_load(
    port: int, clients: Sequence[Sequence[Request]], noise: Sequence[Request], connections: int, seconds: int
) -> tuple[Latencies, Load]:
    """Run the clients at the same time as a load from `wrk`; each sends its own requests in order, and again."""
    return run_beside(port, clients, partial(load.send, port, noise, seconds, connections), seconds)


def run_beside(
    port: int, clients: Sequence[Sequence[Request]], send: Callable[[], Load], seconds: int
) -> tuple[Latencies, Load]:
    """Run the clients at the same time as a load, which `send` sends for this time."""
    with ThreadPoolExecutor(len(clients)) as threads:
        start = time.monotonic() + MARGIN
        end = start + seconds - 2 * MARGIN
        running = [threads.submit(_send_until, port, requests, start, end) for requests in clients]
        sent = send()
    latencies = Latencies()
    for client in running:
        latencies.extend(client.result())
    return latencies, sent


def _send_until(port: int, requests: Sequence[Request], start: float, end: float) -> Latencies:
    latencies = Latencies()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    time.sleep(start - time.monotonic())
    for request in cycle(requests):
        if time.monotonic() >= end:
            break
        started = time.perf_counter()
        if _send(connection, request):
            latencies.times.append((time.perf_counter() - started) * 1e3)
        else:
            latencies.failed += 1
        time.sleep(PAUSE)
    connection.close()
    return latencies


def _send(connection: http.client.HTTPConnection, request: Request) -> bool:
    """Send a request and read its response; return whether it succeeded."""
    headers = {**request.headers, **({"Content-Type": "application/json"} if request.body else {})}
    try:
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request opens it again
        return False
    return response.status < HTTPStatus.BAD_REQUEST
