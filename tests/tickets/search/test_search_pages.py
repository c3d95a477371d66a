"""Pages of a search contain every match once and in order, whether the scan or the index finds it.

The first tickets of the list are scanned one by one; the index is used only if they do not fill the page.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from app.core.fields import to_rfc3339
from app.tickets.lists.filters import TicketSort
from app.tickets.lists.queries import Listing, read_page
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.tickets.rows import give_to_account, insert_many
from tests.tickets.search.searching import SCANNED_TICKETS, flatten, list_pages, list_tickets, search, set_titles
from tests.tickets.users import add_and_sign_in

TICKETS = 4 * SCANNED_TICKETS + 100  # more than are scanned for pages of 20 (`SCANNED_TICKETS`) and of 50
SORTS = ("-createdAt", "createdAt", "-updatedAt", "updatedAt")
STATUSES, PRIORITIES = ("OPEN", "IN_PROGRESS", "CLOSED"), ("LOW", "HIGH")

# Which tickets contain each word.
WORDS: dict[str, Callable[[int], bool]] = {
    "common": lambda _: True,
    "half": lambda n: n % 2 == 0,
    "third": lambda n: n % 3 == 1,
    "sparse": lambda n: n % 61 == 5,
    "early": lambda n: n <= 40,
    "late": lambda n: n > TICKETS - 40,
    "middle": lambda n: abs(n - TICKETS // 2) < 20,
    "oldest": lambda n: n == 1,
    "newest": lambda n: n == TICKETS,
    "none": lambda _: False,
}
SEARCHES: dict[str, Callable[[int], bool]] = {
    **WORDS,
    "half third": lambda n: n % 6 == 4,
    "half sparse": lambda n: n % 122 == 66,
    "early half common": lambda n: n <= 40 and n % 2 == 0,
    "early late": lambda _: False,
    "77": lambda n: n == 77,
    f"#{TICKETS}": lambda n: n == TICKETS,
}


@dataclass(frozen=True)
class Row:
    """The fields of a ticket that lists are sorted and filtered by."""

    number: int
    status: str
    priority: str
    created: datetime
    updated: datetime

    def position(self, sort: str) -> tuple[datetime, int]:
        return (self.updated if sort.endswith("updatedAt") else self.created, self.number)


@pytest.fixture(scope="module")
async def indexed_tickets(api: Api, database: Database) -> tuple[Desk, list[Row]]:
    """An organisation with many tickets, several with the same times, changed in another order than created."""
    desk = await create_desk(api, database)
    await insert_many(desk, TICKETS)
    async with database.session(desk.id) as db:
        await db.execute(
            text(
                """
                UPDATE tickets SET created_at = created_at + number / 4 * interval '1 second',
                       updated_at = created_at + number * 7919 % 211 * interval '1 minute',
                       status = (CAST(:statuses AS text[]))[1 + number % 3],
                       priority = (CAST(:priorities AS text[]))[1 + number / 2 % 2]
                WHERE org_id = :org
                """
            ),
            {"org": desk.id, "statuses": list(STATUSES), "priorities": list(PRIORITIES)},
        )
        stored = await db.execute(
            text("SELECT number, status, priority, created_at, updated_at FROM tickets WHERE org_id = :org"),
            {"org": desk.id},
        )
        rows = [Row(*row) for row in stored]
    await set_titles(desk, {n: " ".join(word for word, has in WORDS.items() if has(n)) for n in range(1, TICKETS + 1)})
    assert len(rows) == TICKETS
    return desk, rows


def list_expected_numbers(rows: list[Row], sort: str, *conditions: Callable[[Row], bool]) -> list[int]:
    """Return the numbers of the expected tickets in order, by checking each row."""
    listed = [row for row in rows if all(holds(row) for holds in conditions)]
    listed.sort(key=lambda row: row.position(sort), reverse=sort.startswith("-"))
    return [row.number for row in listed]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("q", SEARCHES)
async def test_pages_contain_every_match_once_and_in_order(
    indexed_tickets: tuple[Desk, list[Row]], q: str, sort: str
) -> None:
    desk, rows = indexed_tickets
    whole = list_expected_numbers(rows, sort, lambda row: SEARCHES[q](row.number))

    for limit in (100, 37) if len(whole) > 50 else (1, 7, 19, 20, 21):
        listed = await list_pages(desk, q=q, sort=sort, limit=limit)

        assert flatten(listed) == whole
        assert [len(page) for page in listed[:-1]] == [limit] * (len(listed) - 1)
    assert (await list_tickets(desk, q=q, sort=sort, limit=1, include="total")).json()["total"] == len(whole)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    "params",
    [
        {"status": "OPEN"},
        {"status": ["OPEN", "CLOSED"]},
        {"priority": "HIGH"},
        {"status": ["IN_PROGRESS", "CLOSED"], "priority": "LOW"},
    ],
)
async def test_filtered_pages_contain_every_match_once_and_in_order(
    indexed_tickets: tuple[Desk, list[Row]], params: dict[str, Any], sort: str
) -> None:
    desk, rows = indexed_tickets
    for q in ("third", "sparse", "early", "middle", "half sparse"):
        whole = list_expected_numbers(
            rows,
            sort,
            lambda row, q=q: SEARCHES[q](row.number),  # type: ignore[misc]
            lambda row: row.status in params.get("status", STATUSES),
            lambda row: row.priority in params.get("priority", PRIORITIES),
        )

        assert flatten(await list_pages(desk, q=q, sort=sort, limit=20, **params)) == whole
        assert (await list_tickets(desk, q=q, limit=1, include="total", **params)).json()["total"] == len(whole)


@pytest.mark.parametrize("sort", SORTS)
async def test_a_page_of_any_length_has_the_first_matches(indexed_tickets: tuple[Desk, list[Row]], sort: str) -> None:
    """This includes a page as long as the number of matches in the scan, and one more or less."""
    desk, rows = indexed_tickets
    whole = list_expected_numbers(rows, sort, lambda row: SEARCHES["sparse"](row.number))
    first = {
        row.number
        for row in sorted(rows, key=lambda r: r.position(sort), reverse=sort.startswith("-"))[:SCANNED_TICKETS]
    }
    assert 3 < len(first.intersection(whole)) < len(whole) - 3
    search = Search(query=query(desk.id, "sparse", "T"))

    async with desk.database.driver(desk.id) as driver:
        for length in range(1, len(whole) + 3):
            page = await read_page(driver, desk.id, Listing(search=search, sort=TicketSort(sort)), None, length)
            assert [row["number"] for row in page] == whole[:length]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("among", [SCANNED_TICKETS - 1, SCANNED_TICKETS, SCANNED_TICKETS + 1, SCANNED_TICKETS + 2])
async def test_matches_at_the_end_of_the_scan_are_found(desk: Desk, among: int, sort: str) -> None:
    await insert_many(desk, among)
    ends = {1: "oldest", among: "newest"}
    await set_titles(desk, ends)

    for number, word in ends.items():
        assert await search(desk, word, sort=sort) == [number]
        assert await search(desk, word, sort=sort, limit=1) == [number]
    assert await search(desk, "est", sort=sort) == []


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("first", [19, 20, 21, 22])
async def test_a_page_nearly_filled_by_the_scan_is_completed_by_the_index(desk: Desk, first: int, sort: str) -> None:
    count = SCANNED_TICKETS + 30
    await insert_many(desk, count)
    numbers = [*range(7, 7 * first + 1, 7), *range(count - 2, count + 1)]
    if sort.startswith("-"):
        numbers = [count + 1 - number for number in numbers]
    await set_titles(desk, dict.fromkeys(numbers, "Needle"))

    assert flatten(await list_pages(desk, q="needle", sort=sort, limit=20)) == numbers
    assert await search(desk, "needle", sort=sort, limit=20) == numbers[:20]


async def test_time_filters_apply_to_matches_of_the_index(indexed_tickets: tuple[Desk, list[Row]]) -> None:
    desk, rows = indexed_tickets
    times = sorted({row.created for row in rows})
    for begin, end in (
        (times[10], times[-10]),
        (times[100], times[101]),
        (times[5] + timedelta(seconds=0.5), times[60]),
    ):
        params = {"createdAfter": to_rfc3339(begin), "createdBefore": to_rfc3339(end)}
        for q in ("third", "sparse", "early"):
            whole = list_expected_numbers(
                rows,
                "-createdAt",
                lambda row, q=q: SEARCHES[q](row.number),  # type: ignore[misc]
                lambda row, begin=begin, end=end: begin < row.created < end,  # type: ignore[misc]
            )
            assert flatten(await list_pages(desk, q=q, limit=20, **params)) == whole


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_of_a_customer_contain_only_their_tickets(
    indexed_tickets: tuple[Desk, list[Row]], sort: str
) -> None:
    desk, rows = indexed_tickets
    mia: SignedInUser = await add_and_sign_in(desk, RoleKind.CUSTOMER)
    await give_to_account(desk, mia.id, "number % 5 <> 0")

    for q in ("half", "sparse", "early", "late", "oldest", "newest", "none"):
        whole = list_expected_numbers(rows, sort, lambda row, q=q: SEARCHES[q](row.number) and row.number % 5 != 0)  # type: ignore[misc]
        assert flatten(await list_pages(mia, q=q, sort=sort, limit=60)) == whole
        assert (await list_tickets(mia, q=q, limit=1, include="total")).json()["total"] == len(whole)
