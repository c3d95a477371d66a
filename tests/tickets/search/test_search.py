"""GET /tickets?q=…: matching of terms, numbers and references, and invalid search texts."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.database.pool import Database
from app.organisations.rules import derive_reference_prefix
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.tickets.lists.test_filters import ADA, BO
from tests.tickets.search.searching import list_tickets, open_indexed, relay_events, search

EMPTY_PAGE: JSON = {
    "items": [],
    "nextCursor": None,
    "total": 0,
    "note": "The search text contains no letters or digits, so it matches nothing.",
}


@pytest.fixture(scope="module")
async def indexed_tickets(api: Api, database: Database) -> Desk:
    """An organisation with five tickets, which its tests only read."""
    desk = await create_desk(api, database)
    bo = await desk.another_admin(BO, available=False)
    first = await desk.open(
        title="Cannot export Märch's report",
        description="It stops at 40 %, naïvely.",
        requester={"email": "mia.moreau@shop.example"},
    )
    await desk.open(
        title="Printer on fire", description="Exporting it did not help.", requester={"email": "leo@customer.example"}
    )
    third = await desk.open(title="Order 2 is late", description="It was promised for March.", priority="CRITICAL")
    await desk.open(title="An item of it", description="Straße 12, Ελλάδα, 日本語 / snake_case\ttab")
    fifth = await desk.open(title="Cannot sign in", description="As in March.", priority="HIGH")
    await desk.respond(first, "Kindly reboot the flux capacitor.")
    await desk.respond(first, "And then export it AGAIN, s'il vous plaît.")
    await desk.respond(third, "The courier has been told.")
    await desk.admin.patch(f"/tickets/{fifth['id']}", {"assigneeId": str(bo.id)})
    await relay_events(desk)
    return desk


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        # words of the title, the description, the requester's e-mail and the replies
        ("printer", [2]),
        ("promised", [3]),
        ("mia.moreau@shop.example", [1]),
        ("shop.example", [1]),
        ("moreau", [1]),
        ("capacitor", [1]),
        ("again", [1]),
        ("courier", [3]),
        # case and accents are ignored
        ("PRINTER", [2]),
        ("march", [5, 3, 1]),
        ("märch", [5, 3, 1]),
        ("Ma\u0308rch", [5, 3, 1]),
        ("naively", [1]),
        ("strasse", [4]),
        ("STRASSE", [4]),
        ("ελλαδα", [4]),
        ("日本語", [4]),
        ("plait", [1]),
        # terms of three or more letters match beginnings of words
        ("exp", [2, 1]),
        ("export", [2, 1]),
        ("exporting", [2]),
        ("cap", [1]),
        ("ex", []),
        ("prin", [2]),
        ("rinter", []),
        ("printers", []),
        # shorter terms match whole words only
        ("it", [4, 3, 2, 1]),
        ("i", []),
        ("an", [4]),
        ("40", [1]),
        ("4", [4]),  # the ticket's number
        # all terms must match, in any order and in any field
        ("cannot export", [1]),
        ("export cannot", [1]),
        ("report flux shop", [1]),
        ("cannot march", [5, 1]),
        ("cannot printer", []),
        ("printer courier", []),
        ("exp export exporting", [2]),
        ("export export", [2, 1]),
        # characters between terms are ignored
        ("  march \t report ", [1]),
        ("march's", [1]),
        ("(cannot & export) | printer", []),
        ("cannot, export!", [1]),
        ("'cannot' \\ :* <-> export", [1]),
        ("snake_case", [4]),
        ("case-snake", [4]),
        ("a" * 100, []),
        ("one two three four five six seven eight", []),
    ],
)
async def test_matching_of_search_terms(indexed_tickets: Desk, q: str, numbers: list[int]) -> None:
    assert await search(indexed_tickets, q) == numbers


async def test_a_search_returns_the_same_items_as_a_list(indexed_tickets: Desk) -> None:
    answer = await list_tickets(indexed_tickets, q="cannot")

    listed = {ticket["number"]: ticket for ticket in (await list_tickets(indexed_tickets)).json()["items"]}
    assert answer.json() == {"items": [listed[5], listed[1]], "nextCursor": None}


@pytest.mark.parametrize("q", ["!!!", "'", "\\", "&|!()<->:*", "€ \u2013 …"])
async def test_a_search_without_words_finds_nothing(indexed_tickets: Desk, q: str) -> None:
    for params in ({}, {"sort": "updatedAt"}, {"status": "OPEN"}):
        answer = await list_tickets(indexed_tickets, q=q, include="total", **params)
        assert (answer.status_code, answer.json()) == (200, EMPTY_PAGE)


async def test_long_words_are_truncated_in_index_and_query(desk: Desk) -> None:
    long = "donaudampfschifffahrtsgesellschaftskapitän"
    await open_indexed(desk, title=long)

    assert await search(desk, long) == [1]
    assert await search(desk, long[:20]) == [1]
    assert await search(desk, f"{long[:32]}smütze") == [1]
    assert await search(desk, f"{long[:31]}x") == []


# --- numbers and references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{n}", "#{n}", "0{n}", "{p}-{n}", "{lower}-{n}", " {p}-00{n} "])
async def test_a_ticket_is_found_by_number_and_reference(indexed_tickets: Desk, form: str) -> None:
    prefix = derive_reference_prefix(indexed_tickets.domain)

    for number in (1, 5):
        assert await search(indexed_tickets, form.format(n=number, p=prefix, lower=prefix.lower())) == [number]


async def test_a_number_also_matches_words(indexed_tickets: Desk) -> None:
    assert await search(indexed_tickets, "2") == [3, 2]
    assert await search(indexed_tickets, "12") == [4]
    assert await search(indexed_tickets, "2 order") == [3]


@pytest.mark.parametrize(
    "form", ["OTHER-{n}", "x{p}-{n}", "{p}{n}", "{p}_{n}", "##{n}", "{p}-{n}0 printer", "{n}0", "{n}.0"]
)
async def test_other_references_match_no_ticket(indexed_tickets: Desk, form: str) -> None:
    assert await search(indexed_tickets, form.format(n=1, p=derive_reference_prefix(indexed_tickets.domain))) == []


@pytest.mark.parametrize("q", ["9" * 18, "#" + "9" * 18, "9" * 19, "9" * 100, "0" * 100, "-1", "1e3", "#0"])
async def test_an_unused_number_finds_nothing(indexed_tickets: Desk, q: str) -> None:
    answer = await list_tickets(indexed_tickets, q=q, include="total")

    assert (answer.status_code, answer.json()["total"]) == (200, len(answer.json()["items"]))
    # Only -1 finds a ticket: punctuation is ignored, so it means 1.
    assert {ticket["number"] for ticket in answer.json()["items"]} <= ({1} if q == "-1" else set())


async def test_a_reference_also_finds_tickets_that_mention_it(desk: Desk) -> None:
    await open_indexed(desk)
    prefix = derive_reference_prefix(desk.domain)

    await open_indexed(desk, description=f"The same as {prefix}-1, again.")

    assert await search(desk, f"{prefix}-1") == [2, 1]
    assert await search(desk, f"{prefix}-2") == [2]


# --- with other filters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "numbers"),
    [
        ({"q": "march", "status": "RESPONDED"}, [3, 1]),
        ({"q": "march", "status": ["OPEN", "CLOSED"]}, [5]),
        ({"q": "march", "priority": ["CRITICAL", "HIGH"]}, [5, 3]),
        ({"q": "march", "priority": "LOW"}, []),
        ({"q": "march", "requester": "mia.moreau@shop.example"}, [1]),
        ({"q": "march", "assignee": BO}, [5]),
        ({"q": "cannot", "assignee": [ADA, BO], "status": "OPEN"}, [5]),
        ({"q": "march", "assignee": "none"}, []),
        ({"q": "march", "createdAfter": "2999-01-01T00:00:00Z"}, []),
        ({"q": "march", "sort": "createdAt"}, [1, 3, 5]),
        ({"q": "march", "sort": "-updatedAt"}, [5, 3, 1]),
        ({"q": "march", "sort": "updatedAt", "limit": 2}, [1, 3]),
        ({"q": "1", "status": "OPEN"}, []),
    ],
)
async def test_other_filters_are_combined_with_the_search(
    indexed_tickets: Desk, params: dict[str, Any], numbers: list[int]
) -> None:
    assert await search(indexed_tickets, **params) == numbers


async def test_a_search_can_be_filtered_by_assignee(indexed_tickets: Desk) -> None:
    assert await search(indexed_tickets, "march", assignee="me") == [3, 1]
    assert await search(indexed_tickets, "march", assignee="me", status="OPEN") == []


# --- invalid search texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q",
    [
        "",
        "   ",
        "x" * 501,
        "a\x00b",
        "a\x07b",
        "a\x7fb",
        "\u0301",
    ],
)
async def test_an_invalid_search_text_is_rejected(indexed_tickets: Desk, q: str) -> None:
    assert read_invalid_fields(await list_tickets(indexed_tickets, q=q)) == {"q"}


@pytest.mark.parametrize("q", ["x" * 500, "exp " * 124, "登" * 500, "a b c d e f g h i", " " * 600 + "it"])
async def test_a_search_text_of_the_maximum_size_is_accepted(indexed_tickets: Desk, q: str) -> None:
    assert (await list_tickets(indexed_tickets, q=q)).status_code == 200


async def test_a_second_search_text_is_rejected(indexed_tickets: Desk) -> None:
    assert read_invalid_fields(await list_tickets(indexed_tickets, q=["printer", "courier"])) == {"q"}


async def test_a_cursor_is_bound_to_the_search_text(indexed_tickets: Desk) -> None:
    cursor = (await list_tickets(indexed_tickets, q="march", limit=1)).json()["nextCursor"]

    assert (await list_tickets(indexed_tickets, q="March", limit=1, cursor=cursor)).json()["items"][0]["number"] == 3
    for params in ({}, {"q": "printer"}, {"q": "marc"}, {"q": "march", "sort": "createdAt"}, {"q": "!!!"}):
        assert_problem(await list_tickets(indexed_tickets, **params, cursor=cursor), 422, "invalid_cursor")
    list_cursor = (await list_tickets(indexed_tickets, limit=1)).json()["nextCursor"]
    assert_problem(await list_tickets(indexed_tickets, q="march", cursor=list_cursor), 422, "invalid_cursor")


# --- changed tickets -------------------------------------------------------------------------------------------------


async def test_a_ticket_is_found_once_the_worker_has_indexed_it(desk: Desk) -> None:
    await desk.open(title="Quite new")
    assert await search(desk, "new") == []

    await relay_events(desk)

    assert await search(desk, "new") == [1]


@pytest.mark.parametrize(
    ("field", "removed_word", "kept_word"), [("title", "broke", "all"), ("description", "all", "broke")]
)
async def test_a_changed_ticket_is_found_by_its_new_words(
    desk: Desk, field: str, removed_word: str, kept_word: str
) -> None:
    ticket = await open_indexed(desk)
    await desk.admin.patch(f"/tickets/{ticket['id']}", {field: "Another matter"})
    assert await search(desk, removed_word) == [1]

    await relay_events(desk)

    assert await search(desk, removed_word) == []
    assert await search(desk, "matter") == await search(desk, kept_word) == [1]


async def test_replies_stay_indexed_when_the_ticket_changes(desk: Desk) -> None:
    ticket: JSON = await open_indexed(desk)
    await desk.respond(ticket, "Reboot it.")
    await relay_events(desk)

    await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": "Another"})
    await relay_events(desk)

    assert await search(desk, "reboot another") == [1]
