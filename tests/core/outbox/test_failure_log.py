"""Failures that repeat are logged when they start, at growing intervals, and when they are over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError
from structlog.testing import capture_logs

from app.core.database.outages import DatabaseUnreachable
from app.core.outbox.failure_log import FIRST_REMINDER, MAX_FAILURE_AGE, MAX_INTERVAL, FailureLog


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failures(clock: Clock) -> FailureLog:
    return FailureLog("job", clock)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


class ServerError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the driver's message")
        self.sqlstate = sqlstate


def lost() -> Exception:
    return OperationalError("SELECT 1", None, ServerError("57P01"))


def test_an_outage_of_the_database_is_one_line_for_all_jobs(failures: FailureLog, lines: list[Any]) -> None:
    unmigrated = ProgrammingError("SELECT 1", None, ServerError("42P01"))
    for error in (lost(), ConnectionRefusedError(), DatabaseUnreachable(), unmigrated):
        for job in ("timers", "relay", "deliver"):
            failures.note_failure(job, error)
    (line,) = lines
    assert (line["event"], line["job"], line["exc_info"]) == ("job_failed", "timers", None)
    assert line["error"].startswith("OperationalError: ")


def test_it_is_logged_again_at_growing_intervals(failures: FailureLog, clock: Clock, lines: list[Any]) -> None:
    at: list[float] = []
    while clock.seconds < 6 * MAX_INTERVAL:
        before = len(lines)
        failures.note_failure("timers", lost())
        at += [clock.seconds] * (len(lines) - before)
        clock.seconds += 10
    waits = [later - earlier for earlier, later in pairwise(at)]
    assert waits[:3] == [FIRST_REMINDER, 2 * FIRST_REMINDER, 4 * FIRST_REMINDER]
    assert waits == sorted(waits)
    assert waits[-1] == MAX_INTERVAL
    assert lines[1]["event"] == "job_still_failing"
    assert (lines[1]["failures"], lines[1]["seconds"]) == (7, 60)


def test_it_is_over_when_no_job_fails_any_more(failures: FailureLog, clock: Clock, lines: list[Any]) -> None:
    failures.note_failure("timers", lost())
    clock.seconds = 5
    failures.note_failure("relay", lost())
    failures.note_success("timers")
    failures.note_success("deliver")
    assert len(lines) == 1
    failures.note_success("relay")
    assert lines[1:] == [{"event": "job_recovered", "log_level": "info", "job": "relay", "failures": 2, "seconds": 5.0}]
    failures.note_failure("relay", lost())
    assert lines[-1]["event"] == "job_failed"


def test_a_job_that_seldom_runs_does_not_keep_an_outage_open(
    failures: FailureLog, clock: Clock, lines: list[Any]
) -> None:
    failures.note_failure("housekeeping", lost())
    failures.note_failure("relay", lost())
    clock.seconds = MAX_FAILURE_AGE + 1
    failures.note_success("relay")
    assert lines[-1]["event"] == "job_recovered"
    failures.note_failure("relay", lost())
    assert lines[-1]["event"] == "job_failed"


def test_other_failures_have_a_traceback_for_each_job_and_kind(failures: FailureLog, lines: list[Any]) -> None:
    for _ in range(3):
        failures.note_failure("relay", KeyError("a"))
        failures.note_failure("timers", KeyError("a"))
    failures.note_failure("relay", ValueError("b"))
    events = [(line["event"], line["job"]) for line in lines]
    assert events == [
        ("job_failed", "relay"),
        ("job_failed", "timers"),
        ("job_recovered", "relay"),
        ("job_failed", "relay"),
    ]
    assert all(line["exc_info"] for line in lines if line["event"] == "job_failed")
