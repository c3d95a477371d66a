"""The results about several organisations as tables and targets: noisy neighbours, and many organisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.fairness import Fairness, Phase
from benchmarks.noisy import Neighbours, Side
from benchmarks.organisations import FEW, Cost, Growth
from benchmarks.tables import MISSED, Grid, Target, at_most

MAX_NEIGHBOUR_GROWTH = 1.5  # of the quiet organisations' p99
MAX_CPU_GROWTH = 1.3
MAX_FAIRNESS_RATIOS = {50: 4.0, 99: 5.0}  # by percentile


def neighbour_grid(measured: Sequence[Neighbours]) -> Grid:
    """Return the table of the quiet organisations' latencies."""
    rows = []
    for one in measured:
        noise = f"{one.name}, {one.connections} connections"
        rows += [_side(noise, "many", one.many), _side(noise, "one", one.one)]
    numbers = ("p50 ms", "p99 ms", "requests", "failed", "noise/s", "noise failed", "web CPU")
    return Grid(("noise", "by"), numbers, rows, end_of_section="one")


def neighbour_targets(measured: Sequence[Neighbours]) -> list[Target]:
    """Return the targets of the quiet organisations."""
    return [
        at_most(
            f"p99 beside one noisy organisation, relative to many: {one.name}, {one.connections} connections "
            f"(p50: {one.growth(50):.2f})",
            one.growth(99),
            MAX_NEIGHBOUR_GROWTH,
        )
        for one in measured
    ]


def fairness_grid(measured: Sequence[Fairness]) -> Grid:
    """Return the table of one quiet organisation's latencies, alone and beside each kind of noise.

    The last column says whether the ratios and the refusals beside the noise are within the targets.
    """
    rows = []
    for one in measured:
        verdict = "ok" if _is_fair(one) else MISSED
        rows += [[*_phase(one.name, "alone", one.alone), ""], [*_phase(one.name, "beside", one.beside), verdict]]
        rows[-1][2] += f" ({one.ratio(50):.1f} x)"
        rows[-1][3] += f" ({one.ratio(99):.1f} x)"
    numbers = ("p50 ms", "p99 ms", "requests", "refused", "noise/s", "noise refused/s", "web CPU", "")
    return Grid(("noise", "quiet one"), numbers, rows, end_of_section="beside")


def _is_fair(one: Fairness) -> bool:
    is_fast = all(one.ratio(percent) <= most for percent, most in MAX_FAIRNESS_RATIOS.items())
    return is_fast and one.beside.quiet.failed == 0


def fairness_targets(measured: Sequence[Fairness]) -> list[Target]:
    """Return the targets of the quiet organisation: its latencies relative to those alone, and no refusals."""
    if not measured:
        return []
    targets = []
    for percent, most in MAX_FAIRNESS_RATIOS.items():
        worst = max(measured, key=lambda one: one.ratio(percent))
        what = f"p{percent} of a quiet organisation beside the worst noise, relative to alone ({worst.name})"
        targets.append(at_most(what, worst.ratio(percent), most))
    return [
        *targets,
        at_most("refused requests of the quiet organisation", sum(m.beside.quiet.failed for m in measured), 0),
    ]


def growth_grid(measured: Sequence[Growth], names: Mapping[str, str]) -> Grid:
    """Return the table of costs with few and with many organisations."""
    rows = []
    for one in measured:
        name = names[one.operation]
        rows += [_cost(name, f"{FEW:,}", one.few), _cost(name, one.others, one.many)]
    numbers = ("requests/s", "p50 ms", "failed", "transactions", "web CPU µs", "database CPU µs")
    return Grid(("operation", "organisations"), numbers, rows)


def growth_targets(measured: Sequence[Growth], names: Mapping[str, str]) -> list[Target]:
    """Return the targets of the costs of requests."""
    return [
        at_most(
            f"{names[one.operation]}, CPU per request of {one.others} organisations, relative to {FEW} "
            f"(p50: {one.p50:.2f})",
            one.cpu,
            MAX_CPU_GROWTH,
        )
        for one in measured
    ]


def _side(noise: str, by: str, side: Side) -> list[str]:
    quiet = side.quiet
    return [
        noise,
        by,
        f"{quiet.percentile(50):.1f}",
        f"{quiet.percentile(99):.1f}",
        f"{len(quiet.times) + quiet.failed:,}",
        str(quiet.failed),
        f"{side.rate:,.0f}",
        f"{side.failed:,}",
        f"{side.busy:.0%}",
    ]


def _phase(noise: str, name: str, phase: Phase) -> list[str]:
    quiet = phase.quiet
    return [
        noise,
        name,
        f"{quiet.percentile(50):.1f}",
        f"{quiet.percentile(99):.1f}",
        f"{len(quiet.times) + quiet.failed:,}",
        str(quiet.failed),
        f"{phase.requests / phase.seconds:,.0f}",
        f"{phase.failed / phase.seconds:,.0f}",
        f"{phase.cpu / phase.seconds:.0%}",
    ]


def _cost(operation: str, count: str, cost: Cost) -> list[str]:
    return [
        operation,
        count,
        f"{cost.rate:,.0f}",
        f"{cost.p50:.2f}",
        str(cost.failed),
        f"{cost.transactions:.2f}",
        f"{cost.cpu(cost.web_cpu):.0f}",
        f"{cost.cpu(cost.database_cpu):.0f}",
    ]
