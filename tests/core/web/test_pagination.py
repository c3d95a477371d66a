"""Cursors: written and read by one list alone."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.web.paging import CursorSigner, InvalidCursor, cut

KEY = "a-key-that-only-these-tests-have-0123456789"
ORG = uuid4()
FILTERS = {"status": ["OPEN"], "sort": "-createdAt"}


def signer(*, key: str = KEY, name: str = "tickets", filters: object = FILTERS, org: object = ORG) -> CursorSigner:
    return CursorSigner.of(key, org, name, filters)  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_a_position_comes_back_exactly(at: datetime, number: int, identifier: object) -> None:
    cursor = signer().write(at, number, identifier)  # type: ignore[arg-type]
    read_at, *rest = signer().read(cursor)
    assert (datetime.fromisoformat(read_at), rest) == (at, [number, str(identifier)])
    assert cursor == base64.urlsafe_b64encode(base64.urlsafe_b64decode(cursor + "==")).decode().rstrip("=")


@pytest.mark.parametrize(
    "other",
    [
        signer(org=uuid4()),
        signer(name="history"),
        signer(filters={"status": ["OPEN"], "sort": "createdAt"}),
        signer(filters={"status": ["OPEN", "CLOSED"], "sort": "-createdAt"}),
        signer(filters=None),
        signer(key=KEY[::-1]),
    ],
    ids=["organisation", "list", "order", "filter", "no filters", "key"],
)
def test_another_list_does_not_read_it(other: CursorSigner) -> None:
    with pytest.raises(InvalidCursor):
        other.read(signer().write(datetime.now(UTC), 7))


def test_a_changed_one_is_refused_whatever_was_changed() -> None:
    cursor = signer().write(datetime(2026, 3, 1, tzinfo=UTC), 7)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(raw)):
        changed = raw.copy()
        changed[place] ^= 1
        with pytest.raises(InvalidCursor):
            signer().read(base64.urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize("text", ["x", "a b", "é", "%", "AAAA", "=", "\0", "\ud800", "W10", "A" * 1021])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        signer().read(text)


@given(st.text(max_size=80))
def test_so_is_any_text(text: str) -> None:
    with pytest.raises(InvalidCursor):
        signer().read(text)


def test_one_row_too_many_says_that_there_are_more() -> None:
    assert cut([1, 2, 3], 2) == ([1, 2], True)
    assert cut([1, 2], 2) == ([1, 2], False)
    assert cut([], 2) == ([], False)
