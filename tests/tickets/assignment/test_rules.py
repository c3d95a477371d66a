"""The rules of assignment, without a database."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.tickets.assignment.rules import choose_assignee


@given(first=st.integers(1, 10**9), users=st.integers(1, 40), rounds=st.integers(1, 5))
def test_tickets_with_consecutive_numbers_are_assigned_in_strict_rotation(first: int, users: int, rounds: int) -> None:
    available = [f"user {place}" for place in range(users)]
    turns = [choose_assignee(number, available) for number in range(first, first + users * rounds)]

    assert set(Counter(turns).values()) == {rounds}
    assert turns[:users] * rounds == turns


@given(number=st.integers(1, 10**9))
def test_there_is_no_assignee_without_available_users(number: int) -> None:
    assert choose_assignee(number, []) is None
