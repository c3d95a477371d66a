"""The results about mails as targets and notes."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.mails import CONNECTIONS, INSTANT_MAILS, SLOW, Mailing
from benchmarks.tables import Target

MIN_SLOW_RATE = 12  # mails per second
MIN_INSTANT_RATE = 400
MIN_RATIO = 0.5  # of the bare loop
MAX_BACKLOG_SECONDS = 120


def mail_targets(measured: Mailing) -> list[Target]:
    """Return the targets of mails."""
    ratio = measured.instant / measured.bare
    seconds, _count = measured.backlog
    return [
        _at_least(f"mails/s, {SLOW * 1000:.0f} ms a mail, {CONNECTIONS} connections", measured.slow, MIN_SLOW_RATE),
        _at_least("mails/s, an instant server", measured.instant, MIN_INSTANT_RATE),
        _at_least(f"the same, relative to a bare loop ({measured.bare:,.0f}/s)", ratio, MIN_RATIO),
        *(
            Target(f"delay of a mail (s), beside {what}", f"{delay:.2f}", f"<= {most:.1f}", delay <= most)
            for what, (delay, most) in measured.delays.items()
        ),
        Target(
            "seconds until all mails are sent after tickets were opened at full speed",
            f"{seconds:.0f}",
            f"<= {MAX_BACKLOG_SECONDS}",
            seconds <= MAX_BACKLOG_SECONDS,
        ),
    ]


def mail_notes(measured: Mailing) -> Sequence[str]:
    """Return the notes about mails."""
    (beside, opened), (seconds, count) = measured.beside_load, measured.backlog
    rate = count / seconds if seconds else 0.0
    load = f"Beside {opened:,.0f} opened tickets per second, the worker sent {beside:,.0f} mails per second."
    after = f"After that, it sent the remaining {count:,} in {seconds:.0f} s ({rate:,.0f} per second)."
    return [
        f"The worker and the bare loop sent {INSTANT_MAILS:,} mails to an instant server in turn.",
        f"{load} {after}",
    ]


def _at_least(what: str, value: float, least: float) -> Target:
    return Target(what, f"{value:,.2f}", f">= {least:g}", value >= least)
