"""The results as tables, compared with the targets."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import mails_report, tenants_report
from benchmarks.closing import OUTAGE, Closing
from benchmarks.fairness import Fairness
from benchmarks.load import Load
from benchmarks.mails import Mailing
from benchmarks.noisy import Neighbours
from benchmarks.organisations import Growth
from benchmarks.requests import CREATE, LIST, READ, SEARCH
from benchmarks.roundtrips import RoundTrips
from benchmarks.tables import Grid, Target, at_most, target_grid, to_console, to_markdown

SERVICE, REFERENCE, PGBENCH = "Tessera", "hand-written", "pgbench"
OPERATIONS = {CREATE: "POST /tickets", READ: "GET /tickets/{id}", LIST: "GET /tickets?…", SEARCH: "GET /tickets?q=…"}

# Of the hand-written side's rate. A search spends most of its time in the database on both sides.
MIN_RATE_RATIO = {CREATE: 0.55, READ: 0.55, LIST: 0.60, SEARCH: 0.60}
MAX_ROUND_TRIPS = {CREATE: 6, READ: 3, LIST: 3, SEARCH: 3}
# Of the p50, from the small to the large database. An organisation has a hundred times as many matching tickets.
MAX_GROWTH = {LIST: 1.3, SEARCH: 2.0}
MAX_COMMON_WORDS_P50 = 30  # milliseconds
MIN_CLOSED_PER_SECOND = 10_000
MAX_MEMORY_MB = 200
MAX_BUSY_SHARE = 0.1
CONSOLE_WIDTH = 132  # characters


@dataclass(frozen=True)
class Measured:
    """A row: an operation on one side. `cpu` is the web process's CPU time in microseconds per request."""

    operation: str
    side: str
    load: Load
    cpu: float | None = None
    trips: RoundTrips | None = None


@dataclass
class Report:
    """All results.

    Attributes:
        memory: The peak memory of the service's web process, in MB.
        mails: Mails written by the worker per second while tickets were posted.
        busy_share_before: The share of the machine (0 to 1) in use by other programs before a load started.
    """

    rows: list[Measured] = field(default_factory=list)
    growth: dict[str, tuple[Load, Load]] = field(default_factory=dict)
    """The loads in the small and the large database, by operation."""
    common_words: Load | None = None
    """Searches for words that many tickets of one organisation have, one at a time."""
    neighbours: list[Neighbours] = field(default_factory=list)
    fairness: list[Fairness] = field(default_factory=list)
    organisations: list[Growth] = field(default_factory=list)
    """With few and with many organisations."""
    mailing: Mailing | None = None
    closing: Closing | None = None
    catching_up: Closing | None = None
    memory: float | None = None
    mails: float | None = None
    busy_share_before: float = 0


def write(report: Report) -> None:
    """Print the report."""
    console = Console(width=CONSOLE_WIDTH)
    for grid in _grids(report):
        console.print(to_console(grid))
    for note in _notes(report):
        console.print(note)


def markdown(report: Report, tickets: int) -> str:
    """Return the report as a page of Markdown, with date and machine."""
    machine = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    where = f"{os.cpu_count()} processors" + (f" ({machine[1]})" if machine else "")
    begin = (
        f"# Results\n\nMeasured on {datetime.now(UTC):%Y-%m-%d}, with {tickets:,} tickets, on {where}, Python "
        f"{platform.python_version()}.\n[README.md](README.md) describes the measurements.\n"
    )
    tables = [to_markdown(grid) for grid in _grids(report)]
    return "\n".join([begin, *tables, *(f"- {note}" for note in _notes(report))]).rstrip() + "\n"


def _grids(report: Report) -> list[Grid]:
    grids = [
        _loads(report.rows),
        tenants_report.neighbour_grid(report.neighbours),
        tenants_report.fairness_grid(report.fairness),
        tenants_report.growth_grid(report.organisations, OPERATIONS),
        target_grid(targets(report)),
    ]
    return [grid for grid in grids if grid.rows]


def _notes(report: Report) -> list[str]:
    notes = []
    if report.mails is not None:
        notes.append(
            f"While tickets were posted to either side, the worker wrote {report.mails:,.0f} mails per second."
        )
    if report.mailing:
        notes += mails_report.mail_notes(report.mailing)
    if after := report.catching_up:
        notes.append(
            f"After an outage of {OUTAGE.days} days, {after.due:,} tickets were closed at {after.rate:,.0f} per second "
            f"({_cpu_per_ticket(after):.0f} µs CPU each), with {after.reminded:,} reminders between them."
        )
    notes += [
        f"Closed {closing.closed:,} of {closing.due:,} due tickets."
        for closing in (report.closing, report.catching_up)
        if closing and closing.closed != closing.due
    ]
    if report.busy_share_before > MAX_BUSY_SHARE:
        notes.append(f"Other programs used up to {report.busy_share_before:.0%} of the machine: measure again.")
    return notes


def targets(report: Report) -> list[Target]:
    """Return the targets of the measured operations."""
    found = {(row.operation, row.side): row for row in report.rows}
    reached = []
    for operation in OPERATIONS:
        service, reference = found.get((operation, SERVICE)), found.get((operation, REFERENCE))
        if service and reference:
            reached.extend(_operation_targets(operation, service, reference))
    reached += [_growth_target(operation, few.p50, many.p50) for operation, (few, many) in report.growth.items()]
    if common := report.common_words:
        what = "GET /tickets?q=…, p50 of common words in 200,000 tickets of one organisation, one request at a time, ms"
        reached.append(at_most(what, common.p50, MAX_COMMON_WORDS_P50))
    reached += tenants_report.neighbour_targets(report.neighbours)
    reached += tenants_report.fairness_targets(report.fairness)
    reached += tenants_report.growth_targets(report.organisations, OPERATIONS)
    if report.mailing:
        reached += mails_report.mail_targets(report.mailing)
    if report.closing:
        cost = _cpu_per_ticket(report.closing)
        what = f"closing {report.closing.due:,} tickets due at the same time, per second ({cost:.0f} µs CPU each)"
        rate = report.closing.rate
        reached.append(Target(what, f"{rate:,.0f}", f">= {MIN_CLOSED_PER_SECOND:,}", rate >= MIN_CLOSED_PER_SECOND))
    if report.memory:
        met = report.memory < MAX_MEMORY_MB
        reached.append(
            Target("peak memory of the web process under load, MB", f"{report.memory:.0f}", f"< {MAX_MEMORY_MB}", met)
        )
    return reached


def _operation_targets(operation: str, service: Measured, reference: Measured) -> list[Target]:
    name, ratio = OPERATIONS[operation], service.load.rate / reference.load.rate
    by_cpu = f" (by CPU: {reference.cpu / service.cpu:.2f})" if reference.cpu and service.cpu else ""
    reached = [
        Target(
            f"{name}, rate relative to hand-written{by_cpu}",
            f"{ratio:.2f}",
            f">= {MIN_RATE_RATIO[operation]:.2f}",
            ratio >= MIN_RATE_RATIO[operation],
        )
    ]
    if service.trips:
        trips, most = service.trips.statements_first, MAX_ROUND_TRIPS[operation]
        what = f"{name}, round trips with an unknown credential"
        reached.append(Target(what, f"{trips:.1f}", f"<= {most}", trips <= most))
    return reached


def _growth_target(operation: str, few: float, many: float) -> Target:
    what = f"{OPERATIONS[operation]}, growth of p50 from few to many tickets ({many:.2f} / {few:.2f} ms)"
    return at_most(what, many / few, MAX_GROWTH[operation])


def _cpu_per_ticket(closing: Closing) -> float:
    return closing.cpu / max(1, closing.closed) * 1e6


def _loads(rows: Sequence[Measured]) -> Grid:
    numbers = ("requests/s", "p50 ms", "p99 ms", "failed", "statements", "all trips", "CPU µs")
    return Grid(("operation", "side"), numbers, [_load(row) for row in rows], end_of_section=PGBENCH)


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
