"""What was measured, as tables, and whether it reaches what it should."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.closing import OUTAGE, Closing
from benchmarks.load import Load
from benchmarks.requests import CREATE, LIST, READ, SEARCH
from benchmarks.roundtrips import RoundTrips

SERVICE, REFERENCE, PGBENCH = "Tessera", "by hand", "pgbench"
OPERATIONS = {CREATE: "POST /tickets", READ: "GET /tickets/{id}", LIST: "GET /tickets?…", SEARCH: "GET /tickets?q=…"}

RATE_OF_REFERENCE = 0.45
ROUND_TRIPS = {CREATE: 6, READ: 3, LIST: 3, SEARCH: 3}
# Of the p50, from the small database to the large one. Where all tickets have a word that is looked for, the search
# reads its part of the index: that of 50,000 tickets, instead of 500.
GROWTH = {LIST: 1.3, SEARCH: 2.0}
CLOSED_PER_SECOND = 10_000
MEMORY = 200  # MB
NOTICEABLE = 0.1
MISSED = "MISSED"
WIDTH = 132  # characters


@dataclass(frozen=True)
class Measured:
    """One row: an operation of one side. `cpu` is the web process's, in microseconds per request."""

    operation: str
    side: str
    load: Load
    cpu: float | None = None
    trips: RoundTrips | None = None


@dataclass
class Report:
    """All that was measured. `memory` is the service's web process's peak, in MB.

    `mails` is how many the worker wrote per second while tickets were posted, and `taken_by_others` how much of the
    machine, from 0 to 1, was taken before a load began.
    """

    rows: list[Measured] = field(default_factory=list)
    growth: dict[str, tuple[Load, Load]] = field(default_factory=dict)
    """Operations with few tickets, and with many."""
    closing: Closing | None = None
    catching_up: Closing | None = None
    memory: float | None = None
    mails: float | None = None
    taken_by_others: float = 0


@dataclass(frozen=True)
class Target:
    """Something to be reached."""

    what: str
    measured: str
    wanted: str
    is_met: bool


@dataclass(frozen=True)
class Grid:
    """A table, whose first columns are texts."""

    texts: Sequence[str]
    numbers: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(report: Report) -> None:
    """Print everything."""
    console = Console(width=WIDTH)
    for grid in _grids(report):
        console.print(_table(grid))
    for note in _notes(report):
        console.print(note)


def markdown(report: Report, tickets: int) -> str:
    """Everything as a page of Markdown, which says when and where it was measured."""
    machine = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    where = f"{os.cpu_count()} processors" + (f" ({machine[1]})" if machine else "")
    begin = (
        f"# Results\n\nOf {datetime.now(UTC):%Y-%m-%d}, with {tickets:,} tickets, on {where}, Python "
        f"{platform.python_version()}.\n[README.md](README.md) says what is measured.\n"
    )
    tables = ["\n".join(_lines(grid)) + "\n" for grid in _grids(report)]
    return "\n".join([begin, *tables, *(f"- {note}" for note in _notes(report))]).rstrip() + "\n"


def _grids(report: Report) -> list[Grid]:
    return [*([_loads(report.rows)] if report.rows else []), _targets(targets(report))]


def _notes(report: Report) -> list[str]:
    notes = []
    if report.mails is not None:
        notes.append(
            f"While tickets were posted, to either side, the worker wrote {report.mails:,.0f} mails per second."
        )
    if after := report.catching_up:
        notes.append(
            f"After an outage of {OUTAGE.days} days, {after.due:,} tickets were closed at {after.rate:,.0f} a second "
            f"({_cost(after):.0f} µs CPU each), with {after.reminded:,} reminders between them."
        )
    notes += [
        f"Closed {closing.closed:,} of {closing.due:,} due tickets."
        for closing in (report.closing, report.catching_up)
        if closing and closing.closed != closing.due
    ]
    if report.taken_by_others > NOTICEABLE:
        notes.append(f"Other programs took up to {report.taken_by_others:.0%} of the machine: measure again.")
    return notes


def _table(grid: Grid) -> Table:
    table = Table()
    for name in grid.texts:
        table.add_column(name)
    for name in grid.numbers:
        table.add_column(name, justify="right")
    for row in grid.rows:
        table.add_row(*row, end_section=PGBENCH in row, style="red" if MISSED in row else None)
    return table


def _lines(grid: Grid) -> Iterator[str]:
    rules = ["---"] * len(grid.texts) + ["---:"] * len(grid.numbers)
    for cells in ([*grid.texts, *grid.numbers], rules, *grid.rows):
        yield f"| {' | '.join(cells)} |"


def targets(report: Report) -> list[Target]:
    """What there is to reach among what was measured."""
    found = {(row.operation, row.side): row for row in report.rows}
    reached = []
    for operation in OPERATIONS:
        service, reference = found.get((operation, SERVICE)), found.get((operation, REFERENCE))
        if service and reference:
            reached.extend(_of_operation(operation, service, reference))
    reached += [_of_growth(operation, few.p50, many.p50) for operation, (few, many) in report.growth.items()]
    if report.closing:
        cost = _cost(report.closing)
        what = f"closing {report.closing.due:,} tickets due at one moment, per second ({cost:.0f} µs CPU each)"
        rate = report.closing.rate
        reached.append(Target(what, f"{rate:,.0f}", f">= {CLOSED_PER_SECOND:,}", rate >= CLOSED_PER_SECOND))
    if report.memory:
        met = report.memory < MEMORY
        reached.append(Target("web process, most memory under load, MB", f"{report.memory:.0f}", f"< {MEMORY}", met))
    return reached


def _of_operation(operation: str, service: Measured, reference: Measured) -> list[Target]:
    name, ratio = OPERATIONS[operation], service.load.rate / reference.load.rate
    cheaper = f" (by CPU: {reference.cpu / service.cpu:.2f})" if reference.cpu and service.cpu else ""
    reached = [
        Target(
            f"{name}, rate over by hand{cheaper}", f"{ratio:.2f}", f">= {RATE_OF_REFERENCE}", ratio >= RATE_OF_REFERENCE
        )
    ]
    if service.trips:
        trips, most = service.trips.statements_first, ROUND_TRIPS[operation]
        what = f"{name}, round trips, credential looked up"
        reached.append(Target(what, f"{trips:.1f}", f"<= {most}", trips <= most))
    return reached


def _of_growth(operation: str, few: float, many: float) -> Target:
    growth, most = many / few, GROWTH[operation]
    what = f"{OPERATIONS[operation]}, p50 from many tickets over few ({many:.2f} / {few:.2f} ms)"
    return Target(what, f"{growth:.2f}", f"<= {most}", growth <= most)


def _cost(closing: Closing) -> float:
    return closing.cpu / max(1, closing.closed) * 1e6


def _loads(rows: Sequence[Measured]) -> Grid:
    numbers = ("requests/s", "p50 ms", "p99 ms", "failed", "statements", "all trips", "CPU µs")
    return Grid(("operation", "side"), numbers, [_load(row) for row in rows])


def _load(row: Measured) -> list[str]:
    trips = row.trips
    return [
        OPERATIONS[row.operation],
        row.side,
        f"{row.load.rate:,.0f}",
        f"{row.load.p50:.2f}",
        f"{row.load.p99:.2f}",
        str(row.load.failed),
        f"{trips.statements:.1f}" if trips else "",
        f"{trips.statements + trips.transactions:.1f}" if trips else "",
        f"{row.cpu:.0f}" if row.cpu is not None else "",
    ]


def _targets(reached: Sequence[Target]) -> Grid:
    rows = [(target.what, target.measured, target.wanted, "ok" if target.is_met else MISSED) for target in reached]
    return Grid(("to reach",), ("measured", "wanted", ""), rows)
