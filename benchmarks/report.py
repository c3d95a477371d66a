"""What was measured, as tables, and whether it reaches what it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from benchmarks.closing import Closing
from benchmarks.load import Load
from benchmarks.requests import CREATE, LIST, READ
from benchmarks.roundtrips import RoundTrips

SERVICE, REFERENCE, PGBENCH = "Tessera", "by hand", "pgbench"
OPERATIONS = {CREATE: "POST /tickets", READ: "GET /tickets/{id}", LIST: "GET /tickets?…"}

RATE_OF_REFERENCE = 0.45
ROUND_TRIPS = {CREATE: 6, READ: 3, LIST: 3}
GROWTH = 1.3  # of the list's p50, from the small database to the large one
CLOSED_PER_SECOND = 10_000
MEMORY = 200  # MB
NOTICEABLE = 0.1
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
    lists: Sequence[Load] = ()
    """From few tickets, and from many."""
    closing: Closing | None = None
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


def write(report: Report) -> None:
    """Print everything."""
    console = Console(width=WIDTH)
    if report.rows:
        console.print(_loads(report.rows))
    console.print(_targets(targets(report)))
    if report.mails is not None:
        console.print(
            f"While tickets were posted, to either side, the worker wrote {report.mails:,.0f} mails per second."
        )
    if report.taken_by_others > NOTICEABLE:
        console.print(f"[yellow]Other programs took up to {report.taken_by_others:.0%} of the machine: measure again.")
    if report.closing and report.closing.closed != report.closing.due:
        console.print(f"[red]Closed {report.closing.closed:,} of {report.closing.due:,} tickets.")


def targets(report: Report) -> list[Target]:
    """What there is to reach among what was measured."""
    found = {(row.operation, row.side): row for row in report.rows}
    reached = []
    for operation in OPERATIONS:
        service, reference = found.get((operation, SERVICE)), found.get((operation, REFERENCE))
        if service and reference:
            reached.extend(_of_operation(operation, service, reference))
    if report.lists:
        small, large = (load.p50 for load in report.lists)
        growth = large / small
        what = f"{OPERATIONS[LIST]}, p50 from many tickets over few ({large:.2f} / {small:.2f} ms)"
        reached.append(Target(what, f"{growth:.2f}", f"<= {GROWTH}", growth <= GROWTH))
    if report.closing:
        rate, cpu = report.closing.rate, report.closing.cpu / max(1, report.closing.closed) * 1e6
        what = f"closing {report.closing.due:,} due tickets, per second ({cpu:.0f} µs CPU each)"
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


def _loads(rows: Sequence[Measured]) -> Table:
    table = Table(title="Best rounds; statements are round trips beside BEGIN and COMMIT")
    for name in ("operation", "side"):
        table.add_column(name)
    for name in ("requests/s", "p50 ms", "p99 ms", "failed", "statements", "all trips", "CPU µs"):
        table.add_column(name, justify="right")
    for row in rows:
        trips = row.trips
        table.add_row(
            OPERATIONS[row.operation],
            row.side,
            f"{row.load.rate:,.0f}",
            f"{row.load.p50:.2f}",
            f"{row.load.p99:.2f}",
            str(row.load.failed),
            f"{trips.statements:.1f}" if trips else "",
            f"{trips.statements + trips.transactions:.1f}" if trips else "",
            f"{row.cpu:.0f}" if row.cpu is not None else "",
            end_section=row.side == PGBENCH,
        )
    return table


def _targets(reached: Sequence[Target]) -> Table:
    table = Table()
    table.add_column("to reach")
    for name in ("measured", "wanted"):
        table.add_column(name, justify="right")
    table.add_column("")
    for target in reached:
        table.add_row(target.what, target.measured, target.wanted, "[green]ok" if target.is_met else "[red]MISSED")
    return table
