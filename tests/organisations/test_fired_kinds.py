"""Every timer that can fire while a sandbox's clock moves can be described in the response."""

from __future__ import annotations

import pytest

from app.organisations.schemas import check_fired_kinds


def test_the_listed_kinds_are_accepted() -> None:
    check_fired_kinds(["AUTO_CLOSE", "AUTO_CLOSE_REMINDER"])


@pytest.mark.parametrize("kinds", [["AUTO_CLOSE"], ["AUTO_CLOSE", "AUTO_CLOSE_REMINDER", "SNOOZE"]])
def test_a_missing_or_extra_kind_is_refused_at_start_up(kinds: list[str]) -> None:
    with pytest.raises(
        TypeError, match=r"FiredKind differs from the timers that a sandbox runs: (AUTO_CLOSE_R|SNOOZE)"
    ):
        check_fired_kinds(kinds)
