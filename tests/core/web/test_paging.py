"""Pages: cursors that only one list accepts, and links to the next page."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.core.web.paging import CursorSigner, InvalidCursor, PageQuery, Paging

KEY = "tests-only-VrZ3kq8WmT1xuYbE6hNsLoJ0cDf7gPa"
ORG = uuid4()
FILTERS = {"status": ["OPEN"], "sort": "-createdAt"}


def signer(*, key: str = KEY, name: str = "tickets", filters: object = FILTERS, org: object = ORG) -> CursorSigner:
    return CursorSigner.of(key, org, name, filters)  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(UTC)), st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_a_position_is_read_back_exactly(at: datetime, number: int, identifier: object) -> None:
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
def test_a_cursor_of_another_list_is_refused(other: CursorSigner) -> None:
    with pytest.raises(InvalidCursor):
        other.read(signer().write(datetime.now(UTC), 7))


def test_a_cursor_with_any_changed_bit_is_refused() -> None:
    cursor = signer().write(datetime(2026, 3, 1, tzinfo=UTC), 7)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(raw)):
        changed = raw.copy()
        changed[place] ^= 1
        with pytest.raises(InvalidCursor):
            signer().read(base64.urlsafe_b64encode(changed).decode().rstrip("="))


@pytest.mark.parametrize("text", ["x", "a b", "é", "%", "AAAA", "=", "\0", "\ud800", "W10", "A" * 1021])
def test_malformed_cursors_are_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        signer().read(text)


@given(st.text(max_size=80))
def test_arbitrary_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        signer().read(text)


def paging(address: str, cursor: str | None = None) -> Paging:
    path, _, query = address.partition("?")
    scope = {"type": "http", "path": path, "query_string": query.encode(), "headers": []}
    return Paging.of(Request(scope), PageQuery(limit=2, cursor=cursor), KEY, ORG, "numbers", filters=FILTERS)


def test_one_row_more_than_the_page_has_leads_to_the_next_page() -> None:
    one = paging("/numbers")
    assert one.fetch_limit == 3
    page, cursor = one.split_page([1, 2, 3], lambda number: (number,))
    assert page == [1, 2]
    assert paging("/numbers", cursor).after(int) == 2
    assert one.split_page([1, 2], lambda number: (number,)) == ([1, 2], None)
    assert one.split_page([], lambda number: (number,)) == ([], None)
    assert one.after(int) is None


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("/numbers", "/numbers?cursor=C"),
        ("/numbers?limit=2&cursor=B", "/numbers?limit=2&cursor=C"),
        ("/numbers?sort=a&sort=b&q=", "/numbers?sort=a&sort=b&q=&cursor=C"),
        ("/numbers?%63ursor=B&q=a>b%22%2C+%C3%A9%26", "/numbers?q=a%3Eb%22%2C+%C3%A9%26&cursor=C"),
        ("/num bers\u20ac>", "/num%20bers%E2%82%AC%3E?cursor=C"),
    ],
)
def test_the_link_is_the_same_request_with_the_next_cursor(address: str, link: str) -> None:
    assert paging(address).link_headers("C") == {"Link": f'<{link}>; rel="next"'}


def test_the_last_page_has_no_link() -> None:
    assert paging("/numbers").link_headers(None) == {}
