"""Run the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import (
    closing,
    data,
    fairness,
    load,
    mails,
    noisy,
    organisations,
    pgbench,
    processes,
    report,
    roundtrips,
)
from benchmarks.closing import Closing
from benchmarks.data import Dataset
from benchmarks.measure import busy_share, cpu_seconds, peak_memory, reset_peak_memory
from benchmarks.processes import Place, Web
from benchmarks.report import MAX_GROWTH, PGBENCH, REFERENCE, SERVICE, Measured, Report
from benchmarks.requests import COMMON, CREATE, LIST, READ, SEARCH, Request, make

FOLDER = processes.ROOT / ".data" / "bench"
CLOSE, NOISY, FAIRNESS, ORGANISATIONS, MAILS = "close", "noisy", "fairness", "organisations", "mails"
REQUESTS = (CREATE, READ, LIST, SEARCH)
SMALL = 10_000  # tickets
ONE_ORGANISATION = 200_000  # tickets
ROUNDS = 5
WARM_UP = 2  # seconds

STARTS: dict[str, Callable[[Place], AbstractContextManager[Web]]] = {
    SERVICE: processes.service,
    REFERENCE: processes.reference,
}


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    seconds: int
    tickets: int
    only: list[str]
    markdown: Path | None


@dataclass(frozen=True)
class Side:
    """A measured web process and its database."""

    name: str
    data: Dataset
    where: Place
    web: Web


def main() -> None:
    """Run the benchmarks and print the results. Missed targets do not change the exit code."""
    options = _options()
    measured = Report()
    print("PostgreSQL runs without fsync for all sides.")
    if {*options.only} - {ORGANISATIONS, MAILS}:
        _measure_large(measured, options)
    if ORGANISATIONS in options.only:
        _measure_organisations(measured)
    if MAILS in options.only:
        _measure_mails(measured)
    report.write(measured)
    if options.markdown:
        options.markdown.write_text(report.markdown(measured, options.tickets))


def _measure_large(measured: Report, options: Options) -> None:
    """Measure everything that needs the large database."""
    with data.running(FOLDER, options.tickets) as large:
        data.reset(large)
        _measure_web(measured, large, options)
        if NOISY in options.only:
            _measure_noise(measured, large)
        if FAIRNESS in options.only:
            _measure_fairness(measured, large)
        if CLOSE in options.only:
            _log(CLOSE, "at the same time")
            measured.closing = _measure_worker(large, closing.close)
            _log(CLOSE, "after an outage")
            measured.catching_up = _measure_worker(large, closing.catch_up)


def _options() -> Options:
    everything = ",".join([*REQUESTS, NOISY, FAIRNESS, ORGANISATIONS, MAILS, CLOSE])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=int, default=20, help=f"seconds of load per operation and side, in {ROUNDS} rounds"
    )
    parser.add_argument("--tickets", type=int, default=1_000_000, help="tickets in the large database")
    parser.add_argument("--only", default=everything, help=f"a subset of {everything}")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    arguments = parser.parse_args()
    return Options(arguments.seconds, arguments.tickets, arguments.only.split(","), arguments.markdown)


def _measure_web(measured: Report, large: Dataset, options: Options) -> None:
    operations = [operation for operation in REQUESTS if operation in options.only]
    if not operations:
        return
    key = processes.new_key()
    with _side(SERVICE, large, key) as service, _side(REFERENCE, large, key) as reference:
        reset_peak_memory(service.web.pid)
        for operation in operations:
            _note_busy_share(measured)
            with _running_worker(measured, large, operation):
                rows = _measure_alternately([service, reference], operation, options.seconds)
            sides = zip(rows, (service, reference), strict=True)
            measured.rows += [_with_trips(row, side, operation) for row, side in sides]
            measured.rows += _measure_pgbench(large, operation, options.seconds)
            data.reset(large)
        measured.memory = peak_memory(service.web.pid)
        if growing := [operation for operation in MAX_GROWTH if operation in operations]:
            with data.running(FOLDER, SMALL) as content, _side(SERVICE, content, key) as small:
                for operation in growing:
                    few, many = _measure_alternately([small, service], operation, options.seconds)
                    measured.growth[operation] = few.load, many.load
    if SEARCH in operations:
        _measure_common_words(measured, options)


def _measure_common_words(measured: Report, options: Options) -> None:
    """Measure searches for words that many tickets of a single large organisation have."""
    with data.running(FOLDER, ONE_ORGANISATION, 1) as content, _side(SERVICE, content, processes.new_key()) as side:
        requests = make(content, side.where.secret_key, COMMON)
        load.send(side.web.port, requests, WARM_UP, connections=1)
        measured.common_words = load.send(side.web.port, requests, max(1, options.seconds // ROUNDS), connections=1)


def _measure_fairness(measured: Report, large: Dataset) -> None:
    _note_busy_share(measured)
    with processes.place(large.address.service_url, processes.new_key()) as where:
        measured.fairness = fairness.measure(large, where, partial(_log, FAIRNESS))
    data.reset(large)


def _measure_noise(measured: Report, large: Dataset) -> None:
    key = processes.new_key()
    for noise in noisy.NOISES:
        _note_busy_share(measured)
        _log(NOISY, noise.name, str(noise.connections))
        with processes.place(large.address.service_url, key) as where, processes.service(where) as web:
            measured.neighbours.append(noisy.measure(large, where, web, noise))
        _log(NOISY, f"p99 {measured.neighbours[-1].growth(99):.2f}")
        data.reset(large)


def _measure_organisations(measured: Report) -> None:
    with organisations.running(FOLDER) as (few, many):
        for operation in REQUESTS:
            _note_busy_share(measured)
            _log(ORGANISATIONS, operation)
            measured.organisations += organisations.measure(few, many, operation)
            _log(ORGANISATIONS, f"CPU {measured.organisations[-1].cpu:.2f}")


def _measure_mails(measured: Report) -> None:
    _note_busy_share(measured)
    with data.running(FOLDER, SMALL) as content:
        data.reset(content)
        measured.mailing = mails.measure(content, partial(_log, MAILS))


def _note_busy_share(measured: Report) -> None:
    measured.busy_share_before = max(measured.busy_share_before, busy_share(1))


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
def _running_worker(measured: Report, content: Dataset, operation: str) -> Iterator[None]:
    """Run the service's worker while tickets are posted, and measure how many mails it sends."""
    if operation != CREATE:
        yield
        return
    with processes.place(content.address.service_url, processes.new_key()) as where, processes.worker(where):
        started = time.perf_counter()
        yield
        measured.mails = where.mails / (time.perf_counter() - started)
    data.reset(content)


def _measure_alternately(sides: Sequence[Side], operation: str, seconds: int) -> list[Measured]:
    """Return each side's best round. Sides alternate, so that a slow phase of the machine affects all of them."""
    requests = [make(side.data, side.where.secret_key, operation) for side in sides]
    for side, its_requests in zip(sides, requests, strict=True):
        load.send(side.web.port, its_requests, WARM_UP)
    rounds = []
    for _ in range(ROUNDS):
        _log(operation, *(side.name for side in sides))
        each = max(1, round(seconds / ROUNDS))
        rounds.append(
            [_run(side, operation, its_requests, each) for side, its_requests in zip(sides, requests, strict=True)]
        )
    return [max(runs, key=lambda run: run.load.rate) for runs in zip(*rounds, strict=True)]


def _run(side: Side, operation: str, requests: Sequence[Request], seconds: int) -> Measured:
    before = cpu_seconds(side.web.pid)
    sent = load.send(side.web.port, requests, seconds)
    cpu = (cpu_seconds(side.web.pid) - before) / max(1, sent.requests) * 1e6
    return Measured(operation, side.name, sent, cpu)


def _with_trips(row: Measured, side: Side, operation: str) -> Measured:
    requests = make(side.data, side.where.secret_key, operation)
    return replace(row, trips=roundtrips.count(STARTS[side.name], side.where, requests))


def _measure_pgbench(large: Dataset, operation: str, seconds: int) -> list[Measured]:
    program = pgbench.find()
    if program is None:
        _log("pgbench is not installed: apt-get install postgresql")
        return []
    _log(operation, PGBENCH)
    return [Measured(operation, PGBENCH, pgbench.send(program, large, operation, seconds))]


def _log(*words: str) -> None:
    print(*words, sep=", ", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
