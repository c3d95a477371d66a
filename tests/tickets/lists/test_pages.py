"""GET /tickets page by page: complete and without duplicates, also while tickets change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import insert_many

SORTS = {
    "-createdAt": ("createdAt", True),
    "createdAt": ("createdAt", False),
    "-updatedAt": ("updatedAt", True),
    "updatedAt": ("updatedAt", False),
}


async def read_page(desk: Desk, **params: Any) -> JSON:
    answer = await desk.admin.get("/tickets", params=params)
    assert answer.status_code == 200, answer.text
    content: JSON = answer.json()
    return content


async def read_pages(desk: Desk, **params: Any) -> list[list[JSON]]:
    """Read all pages of a list."""
    found, cursor = [], None
    while True:
        content = await read_page(desk, **params, **({"cursor": cursor} if cursor else {}))
        found.append(content["items"])
        cursor = content["nextCursor"]
        if cursor is None:
            return found


@pytest.fixture(scope="module")
async def desk_with_tickets(api: Api, database: Database) -> Desk:
    """An organisation with nine tickets, some of them changed in another order than they were opened."""
    desk = await create_desk(api, database)
    tickets = [await desk.open(priority="LOW" if place % 3 else "HIGH") for place in range(9)]
    for place in (4, 0, 7, 3):
        await desk.admin.patch(f"/tickets/{tickets[place]['id']}", {"title": "Another"})
    return desk


@pytest.mark.parametrize("sort", SORTS)
async def test_a_list_is_sorted_as_asked(desk_with_tickets: Desk, sort: str) -> None:
    field, descending = SORTS[sort]

    items = (await read_page(desk_with_tickets, sort=sort))["items"]

    assert len(items) == 9
    assert items == sorted(items, key=lambda item: (item[field], item["number"]), reverse=descending)
    assert [item["number"] for item in items] in (
        [[9, 8, 7, 6, 5, 4, 3, 2, 1], [4, 8, 1, 5, 9, 7, 6, 3, 2]]
        if descending
        else [[1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 3, 6, 7, 9, 5, 1, 8, 4]]
    )


async def test_the_newest_come_first_by_default(desk_with_tickets: Desk) -> None:
    assert await read_page(desk_with_tickets) == await read_page(desk_with_tickets, sort="-createdAt")


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9, 10])
async def test_pages_together_are_the_list(desk_with_tickets: Desk, sort: str, limit: int) -> None:
    whole = (await read_page(desk_with_tickets, sort=sort))["items"]

    found = await read_pages(desk_with_tickets, sort=sort, limit=limit)

    assert [item for items in found for item in items] == whole
    assert [len(items) for items in found[:-1]] == [limit] * (len(found) - 1)
    assert 0 < len(found[-1]) <= limit


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_of_a_filtered_list_together_are_that_list(desk_with_tickets: Desk, sort: str) -> None:
    found = await read_pages(desk_with_tickets, sort=sort, limit=2, priority="LOW")

    assert [item for items in found for item in items] == (
        await read_page(desk_with_tickets, sort=sort, priority="LOW")
    )["items"]
    assert sum(len(items) for items in found) == 6


@pytest.mark.parametrize("sort", SORTS)
async def test_tickets_of_the_same_time_are_neither_lost_nor_repeated(desk: Desk, sort: str) -> None:
    await insert_many(desk, 11)

    found = await read_pages(desk, sort=sort, limit=3)

    numbers = [item["number"] for items in found for item in items]
    assert numbers == (list(range(11, 0, -1)) if sort.startswith("-") else list(range(1, 12)))


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_stay_complete_while_tickets_are_opened(desk: Desk, sort: str) -> None:
    before = {(await desk.open())["number"] for _ in range(7)}
    seen: list[int] = []
    cursor: str | None = None

    for _ in range(20):
        content = await read_page(desk, sort=sort, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [item["number"] for item in content["items"]]
        cursor = content["nextCursor"]
        if cursor is None:
            break
        if len(seen) < 6:
            await desk.open()

    assert cursor is None
    assert len(seen) == len(set(seen))
    assert before <= set(seen)
    newer = set(seen) - before
    assert newer == (set() if sort.startswith("-") else {8, 9})


async def test_a_ticket_that_stops_matching_between_two_pages_hides_no_other(desk: Desk) -> None:
    tickets = [await desk.open() for _ in range(6)]
    first = await read_page(desk, limit=2, status="OPEN")
    await desk.admin.post(f"/tickets/{tickets[5]['id']}/change_status", {"status": "CLOSED"})
    await desk.admin.post(f"/tickets/{tickets[3]['id']}/change_status", {"status": "CLOSED"})

    second = await read_page(desk, limit=2, status="OPEN", cursor=first["nextCursor"])

    assert [item["number"] for item in second["items"]] == [3, 2]


async def test_the_total_counts_all_pages_and_is_sent_on_request(desk_with_tickets: Desk) -> None:
    first = await read_page(desk_with_tickets, limit=2, include="total")
    second = await read_page(desk_with_tickets, limit=2, include="total", cursor=first["nextCursor"])

    assert (first["total"], second["total"]) == (9, 9)
    assert "total" not in await read_page(desk_with_tickets, limit=2)


async def test_a_cursor_belongs_to_its_filters_and_its_order(desk_with_tickets: Desk) -> None:
    cursor = (await read_page(desk_with_tickets, limit=2, status="OPEN"))["nextCursor"]

    for params in ({"status": "CLOSED"}, {}, {"status": "OPEN", "sort": "createdAt"}, {"status": ["OPEN", "CLOSED"]}):
        answer = await desk_with_tickets.admin.get("/tickets", params=params | {"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_a_cursor_belongs_to_its_organisation_and_its_list(desk_with_tickets: Desk, desk: Desk) -> None:
    cursor = (await read_page(desk_with_tickets, limit=2))["nextCursor"]
    history = f"/tickets/{(await desk.open())['id']}/history"

    for path in ("/tickets", history, "/notifications"):
        answer = await desk.admin.get(path, params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


BROKEN: list[Callable[[str], str]] = [
    lambda cursor: cursor[:-2],
    lambda cursor: ("B" if cursor[0] == "A" else "A") + cursor[1:],
    lambda cursor: cursor[::-1],
    lambda _: "x",
    lambda _: "é",
]


@pytest.mark.parametrize("change", BROKEN)
async def test_a_broken_cursor_is_refused(desk_with_tickets: Desk, change: Callable[[str], str]) -> None:
    cursor = (await read_page(desk_with_tickets, limit=2))["nextCursor"]

    answer = await desk_with_tickets.admin.get("/tickets", params={"cursor": change(cursor)})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_a_cursor_stays_valid_after_its_ticket_was_deleted(desk: Desk) -> None:
    await insert_many(desk, 5)
    first = await read_page(desk, limit=2)
    async with desk.database.session(desk.id) as db:
        await db.execute(text("DELETE FROM tickets WHERE org_id = :org AND number = 4"), {"org": desk.id})

    second = await read_page(desk, limit=2, cursor=first["nextCursor"])

    assert [item["number"] for item in second["items"]] == [3, 2]
