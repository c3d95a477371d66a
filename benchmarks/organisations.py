"""Measure how the cost of requests grows from few to many organisations of the same size.

Requests come from all organisations in turn, and from only a few of the many, to separate the effects of many
organisations from those of the larger database. Every organisation has sent a request before the measurement: the first
one of a credential looks it up, and the process keeps it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from app.core.embedded.sockets import SERVICE
from benchmarks import data, load, processes, requests
from benchmarks.data import Dataset, connected
from benchmarks.measure import backend_cpu_seconds, cpu_seconds
from benchmarks.processes import Web
from benchmarks.requests import CREATE, Request

FEW, MANY = 20, 20_000  # organisations
TICKETS = 20  # of each organisation
ROUNDS = 3
ROUND_SECONDS = 4
WARM_UP = 2  # seconds

_TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


@dataclass
class Cost:
    """The cost of an operation. CPU times are in seconds; `p50s` has the p50 of each round in milliseconds."""

    requests: int = 0
    seconds: float = 0
    failed: int = 0
    web_cpu: float = 0
    database_cpu: float = 0
    p50s: list[float] = field(default_factory=list)
    transactions: float = 0
    """Transactions per request: one, and one for each credential that is looked up."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def p50(self) -> float:
        """The median of the rounds' p50."""
        return median(self.p50s)

    def cpu(self, seconds: float) -> float:
        """Return the CPU time per request in microseconds."""
        return seconds / max(1, self.requests) * 1e6


@dataclass(frozen=True)
class Growth:
    """The costs of an operation with few organisations, and with others. `others` describes these."""

    operation: str
    others: str
    few: Cost
    many: Cost

    @property
    def cpu(self) -> float:
        """By which factor the CPU time of a request grows, in the web process and the database together."""
        few, many = (cost.cpu(cost.web_cpu + cost.database_cpu) for cost in (self.few, self.many))
        return many / few

    @property
    def p50(self) -> float:
        """By which factor the p50 grows."""
        return self.many.p50 / self.few.p50


@dataclass
class _Side:
    """A web process on one of the databases."""

    content: Dataset
    web: Web
    requests: Sequence[Request]
    cost: Cost = field(default_factory=Cost)
    sent: int = 0

    def send(self, seconds: int) -> load.Load:
        """Send the requests that are next, and count all of them."""
        start = self.sent % len(self.requests)
        sent = load.send(self.web.port, [*self.requests[start:], *self.requests[:start]], seconds)
        self.sent += sent.requests
        return sent

    def warm_up(self) -> None:
        """Send at least one request of every organisation."""
        self.send(WARM_UP)
        while self.sent < len(self.requests):
            self.send(WARM_UP)

    def run(self) -> None:
        """Run one round."""
        web, database = cpu_seconds(self.web.pid), backend_cpu_seconds(self.content.pid, SERVICE)
        sent = self.send(ROUND_SECONDS)
        self.cost.web_cpu += cpu_seconds(self.web.pid) - web
        self.cost.database_cpu += backend_cpu_seconds(self.content.pid, SERVICE) - database
        self.cost.requests += sent.requests
        self.cost.seconds += sent.seconds
        self.cost.failed += sent.failed
        self.cost.p50s.append(sent.p50)


@contextmanager
def running(folder: Path) -> Iterator[tuple[Dataset, Dataset]]:
    """Run the database with few organisations and the one with many."""
    with data.running(folder, FEW * TICKETS) as few, data.running(folder, MANY * TICKETS, MANY) as many:
        data.reset(few)
        data.reset(many)
        yield few, many


def measure(few: Dataset, many: Dataset, operation: str) -> list[Growth]:
    """Measure an operation in both databases: with requests from a few of the many organisations, and from all."""
    few_of_many = replace(many, organisations=many.organisations[:: MANY // FEW])
    return [
        _measure(few, few_of_many, operation, f"{FEW:,} of {MANY:,}"),
        _measure(few, many, operation, f"{MANY:,}"),
    ]


def _measure(few: Dataset, many: Dataset, operation: str, others: str) -> Growth:
    """Measure two sides alternately, so that a slow phase of the machine affects both."""
    with _side(few, operation) as few_side, _side(many, operation) as many_side:
        sides = (few_side, many_side)
        for side in sides:
            side.warm_up()
        for _ in range(ROUNDS):
            for side in sides:
                side.run()
    if operation == CREATE:
        data.reset(few)
        data.reset(many)
    return Growth(operation, others, few_side.cost, many_side.cost)


@contextmanager
def _side(content: Dataset, operation: str) -> Iterator[_Side]:
    """Start a web process. After its end the server has the complete statistics of its connections."""
    key = processes.new_key()
    prepared = requests.make(content, key, operation)
    before = asyncio.run(_transactions(content))
    with processes.place(content.address.service_url, key) as where, processes.service(where) as web:
        side = _Side(content, web, prepared)
        yield side
    time.sleep(1)  # until the connections have ended
    side.cost.transactions = (asyncio.run(_transactions(content)) - before) / max(1, side.sent)


async def _transactions(content: Dataset) -> int:
    async with connected(content.address) as connection:
        return int(await connection.fetchval(_TRANSACTIONS))
