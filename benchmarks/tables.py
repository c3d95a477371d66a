"""Tables of results and targets, for the console and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

MISSED = "MISSED"


@dataclass(frozen=True)
class Target:
    """A target and its result."""

    what: str
    measured: str
    required: str
    is_met: bool


@dataclass(frozen=True)
class Grid:
    """A table with text columns followed by number columns. A row with the text `end_of_section` ends a section."""

    texts: Sequence[str]
    numbers: Sequence[str]
    rows: Sequence[Sequence[str]]
    end_of_section: str | None = None


def at_most(what: str, value: float, most: float) -> Target:
    """Return the target that a ratio is at most `most`."""
    return Target(what, f"{value:.2f}", f"<= {most}", value <= most)


def target_grid(targets: Sequence[Target]) -> Grid:
    """Return the table of targets."""
    rows = [(target.what, target.measured, target.required, "ok" if target.is_met else MISSED) for target in targets]
    return Grid(("target",), ("measured", "required", ""), rows)


def to_console(grid: Grid) -> Table:
    """Return the table for the console."""
    table = Table()
    for name in grid.texts:
        table.add_column(name)
    for name in grid.numbers:
        table.add_column(name, justify="right")
    for row in grid.rows:
        table.add_row(*row, end_section=grid.end_of_section in row, style="red" if MISSED in row else None)
    return table


def to_markdown(grid: Grid) -> str:
    """Return the table as Markdown."""
    return "\n".join(_lines(grid)) + "\n"


def _lines(grid: Grid) -> Iterator[str]:
    rules = ["---"] * len(grid.texts) + ["---:"] * len(grid.numbers)
    for cells in ([*grid.texts, *grid.numbers], rules, *grid.rows):
        yield f"| {' | '.join(cells)} |"
