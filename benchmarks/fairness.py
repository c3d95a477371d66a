"""Measure the latency of one quiet organisation alone, and beside each kind of noise.

The quiet organisation sends one request at a time. Phases alone and beside the noise alternate, so that a slow phase of
the machine affects both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

import orjson

from app.core.security.secret_keys import generate_secret_key
from benchmarks import load, noisy, processes, quiet
from benchmarks.data import Dataset
from benchmarks.load import Load
from benchmarks.measure import cpu_seconds
from benchmarks.processes import Place, Web
from benchmarks.quiet import Latencies
from benchmarks.requests import Request

CONNECTIONS, VERY_MANY_CONNECTIONS = 32, 400
SIGN_INS, GUESSES, SLOW_BODIES = 64, 64, 500  # connections
ROUNDS, ROUND_SECONDS = 2, 6
WARM_UP = 2  # seconds
REST = 4  # seconds after a noise, until what it has left behind is done
PASSWORDS = 2000  # different e-mail addresses that sign in, none of which exists
# Sign-ins from one address, as behind a proxy: the limits per address would end the noise.
SETTINGS = {"SIGN_IN_LIMIT": "100000/minute"}

# Sends the noise for some seconds.
SendNoise = Callable[[int], Load]


@dataclass
class Phase:
    """The results of all rounds of one kind: of the quiet organisation, and of the noise."""

    quiet: Latencies = field(default_factory=Latencies)
    requests: int = 0
    failed: int = 0
    seconds: float = 0
    cpu: float = 0
    """Seconds of CPU time of the web process."""


@dataclass(frozen=True)
class Fairness:
    """The result of a kind of noise."""

    name: str
    alone: Phase
    beside: Phase

    def ratio(self, percent: int) -> float:
        """Return by which factor a percentile of the quiet organisation's latencies grows beside the noise."""
        return self.beside.quiet.percentile(percent) / self.alone.quiet.percentile(percent)


def measure(content: Dataset, where: Place, log: Callable[[str], None]) -> list[Fairness]:
    """Measure all kinds of noise in turn, with a running worker as in production."""
    one, noisy_one = content.organisations[-1], content.organisations[0]
    found = []
    with processes.service(where, **SETTINGS) as web, processes.worker(where):
        client = noisy.make_quiet(replace(content, organisations=[one]), where.secret_key)
        quiet.run_beside(web.port, [client], partial(_rest, WARM_UP), WARM_UP)
        for name, send in _noises(web, replace(content, organisations=[noisy_one]), where.secret_key):
            send(WARM_UP)
            result = Fairness(name, Phase(), Phase())
            for _ in range(ROUNDS):
                time.sleep(REST)
                _run(result.alone, web, client, _rest)
                _run(result.beside, web, client, send)
            found.append(result)
            log(f"{name}: p50 {result.ratio(50):.2f}, p99 {result.ratio(99):.2f}, {result.beside.quiet.failed} failed")
    return found


def _run(phase: Phase, web: Web, client: Sequence[Request], send: SendNoise) -> None:
    before = cpu_seconds(web.pid)
    latencies, sent = quiet.run_beside(web.port, [client], partial(send, ROUND_SECONDS), ROUND_SECONDS)
    phase.cpu += cpu_seconds(web.pid) - before
    phase.quiet.extend(latencies)
    phase.requests += sent.requests
    phase.failed += sent.failed
    phase.seconds += sent.seconds


def _noises(web: Web, content: Dataset, secret_key: str) -> list[tuple[str, SendNoise]]:
    """Return all kinds of noise, by name."""
    loads: list[tuple[str, Sequence[Request], int]] = [
        (noise.name, noise.make(web, content, secret_key, 1), CONNECTIONS) for noise in noisy.NOISES[:4]
    ]
    loads += [
        ("POST /tickets", noisy.NOISES[0].make(web, content, secret_key, 1), VERY_MANY_CONNECTIONS),
        ("POST /auth/signin", [_sign_in() for _ in range(PASSWORDS)], SIGN_INS),
        ("bad credentials", [_guess(number) for number in range(PASSWORDS)], GUESSES),
    ]
    noises: list[tuple[str, SendNoise]] = [
        (f"{name}, {connections} connections", partial(_send, web.port, requests, connections))
        for name, requests, connections in loads
    ]
    return [*noises, (f"bodies of 1 byte/s, {SLOW_BODIES} connections", partial(_trickle, web.port))]


def _send(port: int, requests: Sequence[Request], connections: int, seconds: int) -> Load:
    return load.send(port, requests, seconds, connections)


def _rest(seconds: int) -> Load:
    time.sleep(seconds)
    return Load(0, seconds, math.nan, math.nan, 0)


def _sign_in() -> Request:
    body = {"email": f"{uuid4().hex}@growfin.test", "password": "cobalt-heron-47-lamp"}
    return Request("", "POST", "/auth/signin", body=orjson.dumps(body))


def _guess(number: int) -> Request:
    """Return a request with a secret key of nobody, which must be looked up, or with a token that is not valid."""
    if number % 2:
        return Request("", "GET", "/tickets", {"X-Org-Secret": generate_secret_key()})
    return Request("", "GET", "/tickets", {"Authorization": f"Bearer {uuid4().hex}"})


def _trickle(port: int, seconds: int) -> Load:
    """Send bodies of one byte per second on many connections."""
    return asyncio.run(_trickle_all(port, seconds))


async def _trickle_all(port: int, seconds: int) -> Load:
    end = time.monotonic() + seconds
    answered = await asyncio.gather(*(_trickle_one(port, end, number / SLOW_BODIES) for number in range(SLOW_BODIES)))
    return Load(sum(answered), seconds, math.nan, math.nan, sum(answered))


async def _trickle_one(port: int, end: float, delay: float) -> int:
    """Send slow bodies until the end; return how many were refused."""
    refused = 0
    await asyncio.sleep(delay)
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /tickets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000\r\n\r\n"
        )
        answer = asyncio.create_task(reader.read(1))
        while not answer.done() and time.monotonic() < end:
            writer.write(b" ")
            await asyncio.wait([answer], timeout=1)
        refused += answer.done()
        answer.cancel()
        writer.close()
    return refused
