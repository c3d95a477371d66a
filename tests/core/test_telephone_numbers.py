"""Telephone numbers in texts and in searches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.telephone_numbers import NUMBER, find_beginnings, find_suffixes, reverse_digits

WRITTEN = [
    "+49 (0)89 123456-78",
    "+49 89 12345678",
    "0049 89 123456 78",
    "(089) 123456-78",
    "089/12345678",
    "+498912345678",
]


@pytest.mark.parametrize("q", [*WRITTEN, "089 123456", "+49 89 1234", "0049 89 123 456"])
@pytest.mark.parametrize("text", WRITTEN)
def test_a_number_is_found_by_its_beginning_however_it_is_written(text: str, q: str) -> None:
    stored = find_suffixes(text)
    assert [one for one in find_beginnings(q) if any(suffix.startswith(one) for suffix in stored)]


@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize("q", ["5678", "456-78", "123456-78"])
def test_a_number_is_found_by_its_last_digits(text: str, q: str) -> None:
    stored, last = reverse_digits(text, min_digits=7), reverse_digits(q, min_digits=4)
    assert stored is not None
    assert last is not None
    assert stored.startswith(last)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+1 (212) 555-0100", ["12125550100", "2125550100", "5550100", "02125550100"]),
        ("+39 06 1234567", ["39061234567", "061234567", "1234567"]),  # the 0 belongs to the number
        ("+354 581 2345", ["3545812345", "5812345", "05812345"]),
        ("12-34", []),
        ("1" * 18, []),
        ("1 2 3 4 5 6 7", ["1234567", "234567"]),
    ],
)
def test_the_digits_from_each_group_on_are_stored(text: str, expected: list[str]) -> None:
    assert find_suffixes(text) == expected


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Call +49 (0)89 123456-78.", ["+49 (0)89 123456-78"]),
        ("from 2024-11-28 to 2024-12-01", ["2024-11-28", "2024-12-01"]),
        ("v2-17 x1 3a", []),
        ("REF-7, 8", ["8"]),
        ("1,000 12:30", ["1", "000 12", "30"]),
    ],
)
def test_groups_of_digits_are_one_number(text: str, numbers: list[str]) -> None:
    assert [found[0] for found in NUMBER.finditer(text.lower())] == numbers


@given(st.text("0123456789+()- /."))
def test_any_digits_can_be_parsed(text: str) -> None:
    for found in NUMBER.finditer(text):
        for digits in (*find_suffixes(found[0]), *find_beginnings(found[0])):
            assert digits.isdigit()
            assert 6 <= len(digits) <= 17
