"""The rules of auto-close, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.tickets.auto_close import rules

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_ticket_closes_the_given_days_after_the_reply() -> None:
    assert rules.auto_close_at(NOW, 30) == datetime(2026, 3, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("days", "reminded_after"), [(1, None), (2, None), (3, None), (4, 1), (30, 27), (365, 362)])
def test_the_reminder_comes_three_days_before_the_close_if_that_is_after_the_reply(
    days: int, reminded_after: int | None
) -> None:
    expected = NOW + timedelta(days=reminded_after) if reminded_after else None
    assert rules.reminder_at(NOW, rules.auto_close_at(NOW, days)) == expected


def test_the_reason_names_the_reply_the_days_and_the_reminder() -> None:
    closes_at = rules.auto_close_at(NOW, 30)
    reminder = rules.reminder_at(NOW, closes_at)

    assert rules.auto_close_reason(NOW, closes_at, reminder, UTC) == (
        "Replied to on 2026-03-01: closes after 30 days without a new reply. The requester is reminded on 2026-03-28."
    )
    assert rules.auto_close_reason(NOW, closes_at, None, UTC) == (
        "Replied to on 2026-03-01: closes after 30 days without a new reply."
    )


def test_the_reason_names_the_days_of_the_organisations_time_zone() -> None:
    replied_at = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    reason = rules.auto_close_reason(replied_at, replied_at + timedelta(days=30), None, ZoneInfo("Pacific/Auckland"))

    assert reason == "Replied to on 2026-03-02: closes after 30 days without a new reply."
