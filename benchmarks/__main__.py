"""Measure everything in one run: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import closing, data, load, pgbench, processes, report, roundtrips
from benchmarks.closing import Closing
from benchmarks.data import Dataset
from benchmarks.measure import busy_share, cpu_seconds, forget_peak, peak_memory
from benchmarks.processes import Place, Web
from benchmarks.report import GROWTH, PGBENCH, REFERENCE, SERVICE, Measured, Report
from benchmarks.requests import CREATE, LIST, READ, SEARCH, Request, make

FOLDER = processes.ROOT / ".data" / "bench"
CLOSE = "close"
REQUESTS = (CREATE, READ, LIST, SEARCH)
SMALL = 10_000  # tickets
ROUNDS = 5
WARM_UP = 2  # seconds

STARTS: dict[str, Callable[[Place], AbstractContextManager[Web]]] = {
    SERVICE: processes.service,
    REFERENCE: processes.reference,
}


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    seconds: int
    tickets: int
    only: list[str]
    markdown: Path | None


@dataclass(frozen=True)
class Side:
    """A web process that is measured, and its database."""

    name: str
    data: Dataset
    where: Place
    web: Web


def main() -> None:
    """Measure, and print; whatever is missed, this ends well."""
    options = _options()
    measured = Report()
    print("PostgreSQL runs without fsync, for all sides alike.")
    with data.running(FOLDER, options.tickets) as large:
        data.reset(large)
        _measure_web(measured, large, options)
        if CLOSE in options.only:
            _say(CLOSE, "at one moment")
            measured.closing = _measure_worker(large, closing.close)
            _say(CLOSE, "after an outage")
            measured.catching_up = _measure_worker(large, closing.catch_up)
    report.write(measured)
    if options.markdown:
        options.markdown.write_text(report.markdown(measured, options.tickets))


def _options() -> Options:
    everything = ",".join([*REQUESTS, CLOSE])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=20, help=f"of load for each operation and side, in {ROUNDS} rounds"
    )
    parser.add_argument("--tickets", type=int, default=1_000_000, help="in the large database")
    parser.add_argument("--only", default=everything, help=f"some of {everything}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="writes the tables there as well")
    given = parser.parse_args()
    return Options(given.seconds, given.tickets, given.only.split(","), given.markdown)


def _measure_web(measured: Report, large: Dataset, options: Options) -> None:
    wanted = [operation for operation in REQUESTS if operation in options.only]
    if not wanted:
        return
    key = processes.new_key()
    with _side(SERVICE, large, key) as service, _side(REFERENCE, large, key) as reference:
        forget_peak(service.web.pid)
        for operation in wanted:
            measured.taken_by_others = max(measured.taken_by_others, busy_share(1))
            with _meanwhile(measured, large, operation):
                rows = _in_turns([service, reference], operation, options.seconds)
            sides = zip(rows, (service, reference), strict=True)
            measured.rows += [_with_trips(row, side, operation) for row, side in sides]
            measured.rows += _straight(large, operation, options.seconds)
            data.reset(large)
        measured.memory = peak_memory(service.web.pid)
        if growing := [operation for operation in GROWTH if operation in wanted]:
            with data.running(FOLDER, SMALL) as content, _side(SERVICE, content, key) as small:
                for operation in growing:
                    few, many = _in_turns([small, service], operation, options.seconds)
                    measured.growth[operation] = few.load, many.load


def _measure_worker(large: Dataset, measure: Callable[[Dataset, Place], Closing]) -> Closing:
    with processes.place(large.address.service_url, processes.new_key()) as where:
        measured = measure(large, where)
    data.reset(large)
    return measured


@contextmanager
def _side(name: str, content: Dataset, key: str) -> Iterator[Side]:
    with processes.place(content.address.service_url, key) as where, STARTS[name](where) as web:
        yield Side(name, content, where, web)


@contextmanager
def _meanwhile(measured: Report, content: Dataset, operation: str) -> Iterator[None]:
    """While tickets are posted, to whichever side, the service's worker sends the mails that follow."""
    if operation != CREATE:
        yield
        return
    with processes.place(content.address.service_url, processes.new_key()) as where, processes.worker(where):
        begun = time.perf_counter()
        yield
        measured.mails = where.mails / (time.perf_counter() - begun)
    data.reset(content)


def _in_turns(sides: Sequence[Side], operation: str, seconds: int) -> list[Measured]:
    """Each side's best round: in turns, so that a slow phase of the machine meets all of them."""
    requests = [make(side.data, side.where.secret_key, operation) for side in sides]
    for side, theirs in zip(sides, requests, strict=True):
        load.send(side.web.port, theirs, WARM_UP)
    rounds = []
    for _ in range(ROUNDS):
        _say(operation, *(side.name for side in sides))
        each = max(1, round(seconds / ROUNDS))
        rounds.append([_run(side, operation, theirs, each) for side, theirs in zip(sides, requests, strict=True)])
    return [max(runs, key=lambda run: run.load.rate) for runs in zip(*rounds, strict=True)]


def _run(side: Side, operation: str, requests: Sequence[Request], seconds: int) -> Measured:
    before = cpu_seconds(side.web.pid)
    sent = load.send(side.web.port, requests, seconds)
    cpu = (cpu_seconds(side.web.pid) - before) / max(1, sent.requests) * 1e6
    return Measured(operation, side.name, sent, cpu)


def _with_trips(row: Measured, side: Side, operation: str) -> Measured:
    requests = make(side.data, side.where.secret_key, operation)
    return replace(row, trips=roundtrips.count(STARTS[side.name], side.where, requests))


def _straight(large: Dataset, operation: str, seconds: int) -> list[Measured]:
    program = pgbench.find()
    if program is None:
        _say("There is no pgbench here: apt-get install postgresql")
        return []
    _say(operation, PGBENCH)
    return [Measured(operation, PGBENCH, pgbench.send(program, large, operation, seconds))]


def _say(*words: str) -> None:
    print(*words, sep=", ", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
