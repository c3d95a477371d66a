"""What a search finds page by page: every ticket once and in order, however it is found.

The first so many tickets are looked at one by one; only where those do not fill the page are all others gathered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.access.permissions import RoleKind
from app.core.database.pool import Database
from app.core.fields import to_rfc3339
from app.tickets import queries
from app.tickets.queries import Listing
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.desks import Api, Desk, SignedInUser, a_desk
from tests.tickets.rows import insert_many
from tests.tickets.search.finding import LOOKED_AT, ask, entitle, flat, found, pages
from tests.tickets.users import joins

TICKETS = 4 * LOOKED_AT + 100  # more than are looked at, even for pages of fifty
SORTS = ("-createdAt", "createdAt", "-updatedAt", "updatedAt")
STATUSES, PRIORITIES = ("OPEN", "IN_PROGRESS", "CLOSED"), ("LOW", "HIGH")

# Which tickets have each word.
WORDS: dict[str, Callable[[int], bool]] = {
    "common": lambda _: True,
    "half": lambda n: n % 2 == 0,
    "third": lambda n: n % 3 == 1,
    "sparse": lambda n: n % 61 == 5,
    "old": lambda n: n <= 40,
    "young": lambda n: n > TICKETS - 40,
    "middle": lambda n: abs(n - TICKETS // 2) < 20,
    "last": lambda n: n == 1,
    "first": lambda n: n == TICKETS,
    "none": lambda _: False,
}
SEARCHES: dict[str, Callable[[int], bool]] = {
    **WORDS,
    "half third": lambda n: n % 6 == 4,
    "half sparse": lambda n: n % 122 == 66,
    "old half common": lambda n: n <= 40 and n % 2 == 0,
    "old young": lambda _: False,
    "77": lambda n: n == 77,
    f"#{TICKETS}": lambda n: n == TICKETS,
}


@dataclass(frozen=True)
class Row:
    """What the order and the filters of lists are about."""

    number: int
    status: str
    priority: str
    created: datetime
    updated: datetime

    def position(self, sort: str) -> tuple[datetime, int]:
        return (self.updated if sort.endswith("updatedAt") else self.created, self.number)


@pytest.fixture(scope="module")
async def shelf(api: Api, database: Database) -> tuple[Desk, list[Row]]:
    """An organisation with many tickets, several of each moment, changed in quite another order than opened."""
    desk = await a_desk(api, database)
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
    await entitle(desk, {n: " ".join(word for word, has in WORDS.items() if has(n)) for n in range(1, TICKETS + 1)})
    assert len(rows) == TICKETS
    return desk, rows


def expected(rows: list[Row], sort: str, *which: Callable[[Row], bool]) -> list[int]:
    """By looking at each, whose numbers are listed and in what order."""
    listed = [row for row in rows if all(holds(row) for holds in which)]
    listed.sort(key=lambda row: row.position(sort), reverse=sort.startswith("-"))
    return [row.number for row in listed]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("q", SEARCHES)
async def test_pages_are_what_is_found_in_pieces(shelf: tuple[Desk, list[Row]], q: str, sort: str) -> None:
    desk, rows = shelf
    whole = expected(rows, sort, lambda row: SEARCHES[q](row.number))

    for limit in (100, 37) if len(whole) > 50 else (1, 7, 19, 20, 21):
        listed = await pages(desk, q=q, sort=sort, limit=limit)

        assert flat(listed) == whole
        assert [len(page) for page in listed[:-1]] == [limit] * (len(listed) - 1)
    assert (await ask(desk, q=q, sort=sort, limit=1, include="total")).json()["total"] == len(whole)


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
async def test_pages_of_what_is_found_and_filtered_are_that_in_pieces(
    shelf: tuple[Desk, list[Row]], params: dict[str, Any], sort: str
) -> None:
    desk, rows = shelf
    for q in ("third", "sparse", "old", "middle", "half sparse"):
        whole = expected(
            rows,
            sort,
            lambda row, q=q: SEARCHES[q](row.number),  # type: ignore[misc]
            lambda row: row.status in params.get("status", STATUSES),
            lambda row: row.priority in params.get("priority", PRIORITIES),
        )

        assert flat(await pages(desk, q=q, sort=sort, limit=20, **params)) == whole
        assert (await ask(desk, q=q, limit=1, include="total", **params)).json()["total"] == len(whole)


@pytest.mark.parametrize("sort", SORTS)
async def test_a_page_of_any_length_is_the_beginning_of_what_is_found(shelf: tuple[Desk, list[Row]], sort: str) -> None:
    """Also of just as many as were found among the first, and of one more or less."""
    desk, rows = shelf
    whole = expected(rows, sort, lambda row: SEARCHES["sparse"](row.number))
    first = {
        row.number for row in sorted(rows, key=lambda r: r.position(sort), reverse=sort.startswith("-"))[:LOOKED_AT]
    }
    assert 3 < len(first.intersection(whole)) < len(whole) - 3
    search = Search(query=query(desk.id, "sparse", "T"))

    async with desk.database.driver(desk.id) as driver:
        for length in range(1, len(whole) + 3):
            page = await queries.page(driver, desk.id, Listing(search=search, sort=sort), None, length)
            assert [row["number"] for row in page] == whole[:length]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("among", [LOOKED_AT - 1, LOOKED_AT, LOOKED_AT + 1, LOOKED_AT + 2])
async def test_the_last_of_as_many_as_are_looked_at_is_found_and_the_one_after_it(
    desk: Desk, among: int, sort: str
) -> None:
    await insert_many(desk, among)
    ends = {1: "oldest", among: "newest"}
    await entitle(desk, ends)

    for number, word in ends.items():
        assert await found(desk, word, sort=sort) == [number]
        assert await found(desk, word, sort=sort, limit=1) == [number]
    assert await found(desk, "est", sort=sort) == []


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("first", [19, 20, 21, 22])
async def test_a_page_that_is_nearly_full_of_what_was_looked_at_is_followed_by_what_was_not(
    desk: Desk, first: int, sort: str
) -> None:
    count = LOOKED_AT + 30
    await insert_many(desk, count)
    numbers = [*range(7, 7 * first + 1, 7), *range(count - 2, count + 1)]
    if sort.startswith("-"):
        numbers = [count + 1 - number for number in numbers]
    await entitle(desk, dict.fromkeys(numbers, "Needle"))

    assert flat(await pages(desk, q="needle", sort=sort, limit=20)) == numbers
    assert await found(desk, "needle", sort=sort, limit=20) == numbers[:20]


async def test_bounds_of_time_hold_for_what_is_gathered_as_well(shelf: tuple[Desk, list[Row]]) -> None:
    desk, rows = shelf
    times = sorted({row.created for row in rows})
    for begin, end in (
        (times[10], times[-10]),
        (times[100], times[101]),
        (times[5] + timedelta(seconds=0.5), times[60]),
    ):
        params = {"createdAfter": to_rfc3339(begin), "createdBefore": to_rfc3339(end)}
        for q in ("third", "sparse", "old"):
            whole = expected(
                rows,
                "-createdAt",
                lambda row, q=q: SEARCHES[q](row.number),  # type: ignore[misc]
                lambda row, begin=begin, end=end: begin < row.created < end,  # type: ignore[misc]
            )
            assert flat(await pages(desk, q=q, limit=20, **params)) == whole


@pytest.mark.parametrize("sort", SORTS)
async def test_a_customer_goes_through_as_many_of_their_own(shelf: tuple[Desk, list[Row]], sort: str) -> None:
    desk, rows = shelf
    mia: SignedInUser = await joins(desk, RoleKind.CUSTOMER)
    async with desk.database.session(desk.id) as db:
        await db.execute(
            text("UPDATE tickets SET requester_id = :mia WHERE org_id = :org AND number % 5 <> 0"),
            {"mia": mia.id, "org": desk.id},
        )

    for q in ("half", "sparse", "old", "young", "last", "first", "none"):
        whole = expected(rows, sort, lambda row, q=q: SEARCHES[q](row.number) and row.number % 5 != 0)  # type: ignore[misc]
        assert flat(await pages(mia, q=q, sort=sort, limit=60)) == whole
        assert (await ask(mia, q=q, limit=1, include="total")).json()["total"] == len(whole)
