"""Query plans of searches: rare words are read from the index of words, and common words from tickets in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.core.outbox import timers
from app.core.outbox.events import SYSTEM, Recorded
from app.core.outbox.timers import Due
from app.tickets.events import TicketResponded
from app.tickets.lists.filters import TicketSort
from app.tickets.lists.queries import Listing, count_tickets, page_statement
from app.tickets.search import jobs
from app.tickets.search.queries import MAX_SCANNED, SCAN_FACTOR, Search
from app.tickets.search.rules import INDEX_TICKETS, query
from app.tickets.search.service import TICKETS_PER_STATEMENT
from tests.postgres import TestServer
from tests.schema.catalog import Connection, rolled_back
from tests.schema.plans import (
    AFTER,
    ORG,
    START,
    TICKET,
    TICKETS,
    USER_ID,
    WORDS,
    Recorder,
    explain,
    find_problems,
    find_statement_problems,
    has_prefix,
    nodes,
    used_indexes,
)
from tests.schema.test_plans_of_lists import FILTERS, SORTS

OWN = {"account_id": USER_ID}
A_RESPONSE = UUID("00000001-0000-0000-0000-000000000007")
# The number of matching tickets of the organisation, by search text.
FOUND: dict[str, int] = {
    "invoice": 5,
    "refund export": 50,
    "export": 5_000,
    "it": 5_000,
    "try": 1_000,
    "nothing": 0,
    "42": 1,
    "T-1234": 1,
    "stops again": 1_000,
}
# Filters that match so few tickets that the planner may read all of them and check their words.
SELECTIVE_FILTERS = {
    name for name in FILTERS if name.startswith(("assignee", "adminEmail", "requester", "customerEmail"))
}
FILTERS_BESIDES_SEARCH = [name for name in FILTERS if name not in {"q", "a customer's own", "everything"}]


def make_search(text: str, *, replies: bool = True) -> Search:
    return Search(query=query(ORG, text, "T"), include_replies=replies)


def match_newest(count: int) -> dict[str, dict[str, list[datetime]]]:
    """Make the filter that matches this many tickets."""
    return {"filters": {"created_after": [START + timedelta(minutes=TICKETS - count)]}}


async def explain_both(
    connection: Connection, statement: tuple[str, Sequence[object]], *, run: bool = False
) -> list[dict[str, Any]]:
    """Return the custom and the generic plan of a statement, and check that they have no problems."""
    (wanted,) = [one for one in statement[1] if isinstance(one, str) and one.startswith(("'", "('"))]
    assert has_prefix(wanted)
    both = [await explain(connection, *statement, generic=generic, run=run) for generic in (False, True)]
    assert [find_problems(plan) for plan in both] == [[], []]
    return both


def inner(plan: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the part of a plan that computes this CTE."""
    (part,) = (node for node in nodes(plan) if node.get("Subplan Name") == f"CTE {name}")
    return part


def outer(plan: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a plan that reads the page, without the CTEs and the initial plans."""
    return {
        **plan,
        "Plans": [
            outer(one)
            for one in plan.get("Plans", ())
            if not one.get("Subplan Name", "").startswith(("CTE", "InitPlan"))
        ],
    }


def conditions(plan: dict[str, Any], index: str) -> list[str]:
    return [node["Index Cond"] for node in nodes(plan) if node.get("Index Name") == index]


# --- bad plans are detected ------------------------------------------------------------------------------------------

IS_WORD = "(lexemes || replies) @@ $2::text::tsquery"
BAD = {
    "org_id = $1 AND lexemes @@ $2::text::tsquery": ["reads all of ticket_search"],
    f"org_id = $1 AND {IS_WORD}": ["reads all of ticket_search"],
    f"$1::uuid IS NOT NULL AND {IS_WORD}": ["ticket_search is not read by org_id"],
}


@pytest.mark.parametrize("generic", [False, True])
@pytest.mark.parametrize("condition", BAD)
async def test_other_ways_of_reading_words_are_detected(filled: TestServer, condition: str, generic: bool) -> None:
    sql, parameters = f"SELECT ticket_id FROM ticket_search WHERE {condition}", [ORG, make_search("invoice").query]
    async with rolled_back(filled.superuser_url) as connection:
        if "all of" in BAD[condition][0]:
            await connection.execute(f"DROP INDEX {WORDS}")

        assert find_problems(await explain(connection, sql, parameters, generic=generic)) == BAD[condition]


@pytest.mark.parametrize("text", ["'invoice':*", "'00000001invoice':* & 'export'", "'00000002invoice' | '00000001#7'"])
async def test_words_without_the_organisations_prefix_are_detected(service_connection: Connection, text: str) -> None:
    sql = f"SELECT ticket_id FROM ticket_search WHERE org_id = $1 AND {IS_WORD}"

    assert find_problems(await explain(service_connection, sql, [ORG, text])) == [
        f"{WORDS} is searched without a prefix"
    ]


# --- a page ----------------------------------------------------------------------------------------------------------


async def test_the_searches_of_these_tests_find_the_expected_numbers(service_connection: Connection) -> None:
    recorder = Recorder(service_connection)

    assert {
        text: await count_tickets(recorder.driver, ORG, Listing(search=make_search(text))) for text in FOUND
    } == FOUND
    # `try` is a word of replies only.
    assert await count_tickets(recorder.driver, ORG, Listing(search=make_search("try", replies=False))) == 0


@pytest.mark.parametrize("after", [None, AFTER], ids=["first page", "next page"])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("replies", [True, False], ids=["with replies", "own words"])
@pytest.mark.parametrize("text", FOUND)
async def test_tickets_are_scanned_in_order_and_then_found_by_the_index_of_words(
    service_connection: Connection, text: str, replies: bool, sort: TicketSort, after: tuple[datetime, int] | None
) -> None:
    statement = page_statement(ORG, Listing(search=make_search(text, replies=replies), sort=sort), after, 21)
    index_in_list_order = f"ix_tickets_org_id_{'updated' if 'updated' in sort else 'created'}_at_number"

    for plan in await explain_both(service_connection, statement):
        scanned, collected, rest = inner(plan, "scanned_matches"), inner(plan, "all_matches"), outer(plan)
        assert used_indexes(scanned) == {index_in_list_order, "pk_ticket_search"}
        assert not [node for node in nodes(scanned) if node["Node Type"] in {"Sort", "Bitmap Heap Scan"}]
        assert used_indexes(collected) == {index_in_list_order, WORDS}
        assert used_indexes(rest) == {"pk_tickets", "pk_requesters", "pk_users"}
        (which,) = conditions(rest, "pk_tickets")
        assert "(id = ANY (" in which


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", FILTERS_BESIDES_SEARCH)
async def test_words_are_found_by_their_index_with_any_other_filter(
    service_connection: Connection, name: str, sort: TicketSort
) -> None:
    for text in ("invoice", "export"):
        for after in (None, AFTER):
            listing = Listing(**FILTERS[name], search=make_search(text), sort=sort)
            statement = page_statement(ORG, listing, after, 21)
            for plan in await explain_both(service_connection, statement):
                assert WORDS in used_indexes(inner(plan, "all_matches"))
                assert "pk_ticket_search" not in used_indexes(inner(plan, "all_matches"))
                assert WORDS not in used_indexes(inner(plan, "scanned_matches"))
                by_id = conditions(outer(plan), "pk_tickets")
                assert all("(id = ANY (" in one for one in by_id)
                assert by_id or name in SELECTIVE_FILTERS


@pytest.mark.parametrize("name", ["everything", *FILTERS_BESIDES_SEARCH])
async def test_matches_are_counted_from_the_index_of_words(service_connection: Connection, name: str) -> None:
    for text in FOUND:
        for replies in (True, False):
            recorder = Recorder(service_connection)
            await count_tickets(
                recorder.driver, ORG, Listing(**FILTERS[name], search=make_search(text, replies=replies))
            )
            (statement,) = recorder.sent
            for plan in await explain_both(service_connection, statement):
                assert used_indexes(inner(plan, "matches")) == {WORDS}
                assert "pk_ticket_search" not in used_indexes(plan)


@pytest.mark.parametrize(
    ("text", "limit", "filters", "scanned", "index_scans"),
    [
        ("export", 21, {}, 21, 0),
        ("export", 101, {}, 101, 0),
        ("invoice", 21, {}, 21 * SCAN_FACTOR, 1),
        ("nothing", 21, {}, 21 * SCAN_FACTOR, 1),
        ("refund", 21, {}, 21 * SCAN_FACTOR, 1),  # one ticket in 100 has the word
        ("refund", 3, {}, 3 * SCAN_FACTOR, 1),
        # If the scan has checked all candidates, the index has no further matches to collect.
        ("invoice", 21, match_newest(200), 200, 0),
        ("export", 201, match_newest(200), 200, 0),
        ("invoice", 21, match_newest(21 * SCAN_FACTOR), 21 * SCAN_FACTOR, 1),
        ("invoice", 21, match_newest(21 * SCAN_FACTOR - 1), 21 * SCAN_FACTOR - 1, 0),
    ],
)
async def test_only_the_tickets_that_fill_the_page_are_read(
    service_connection: Connection, text: str, limit: int, filters: dict[str, Any], *, scanned: int, index_scans: int
) -> None:
    statement = page_statement(ORG, Listing(search=make_search(text), **filters), None, limit)

    for plan in await explain_both(service_connection, statement, run=True):
        (scan,) = [node for node in nodes(inner(plan, "scanned_matches")) if node.get("Relation Name") == "tickets"]
        (collecting,) = [node for node in nodes(inner(plan, "all_matches")) if node.get("Index Name") == WORDS]
        assert (scan["Actual Rows"], scan["Actual Loops"]) == (scanned, 1)
        assert collecting["Actual Loops"] == index_scans


async def test_the_scan_for_a_long_page_is_limited(service_connection: Connection) -> None:
    """It would scan all tickets for common words that never occur together."""
    assert MAX_SCANNED < TICKETS
    statement = page_statement(ORG, Listing(search=replace(make_search("nothing"), is_common=True)), None, 101)

    for plan in await explain_both(service_connection, statement, run=True):
        (scan,) = [node for node in nodes(inner(plan, "scanned_matches")) if node.get("Relation Name") == "tickets"]
        (collecting,) = [node for node in nodes(inner(plan, "all_matches")) if node.get("Index Name") == WORDS]
        assert (scan["Actual Rows"], collecting["Actual Loops"]) == (MAX_SCANNED, 1)


async def test_common_words_are_checked_on_the_tickets_with_the_rarer_words(service_connection: Connection) -> None:
    for is_common in (False, True):
        for replies in (True, False):
            words = make_search("export invoice", replies=replies)
            search = replace(words, index_query=make_search("invoice").query, is_common=is_common)
            recorder = Recorder(service_connection)
            assert await count_tickets(recorder.driver, ORG, Listing(search=search)) == FOUND["invoice"]
            page = page_statement(ORG, Listing(search=search), None, 21)
            for sql, parameters in (*recorder.sent, page):
                for generic in (False, True):
                    plan = await explain(service_connection, sql, parameters, generic=generic)
                    assert find_problems(plan) == []
                    (collected,) = conditions(plan, WORDS)
                    assert collected.count("@@") == 1
                    (checked,) = [node for node in nodes(plan) if node["Node Type"] == "Bitmap Heap Scan"]
                    assert checked["Filter"].count("@@") == 1


# --- customers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FOUND)
async def test_a_customers_search_reads_only_their_own_tickets(service_connection: Connection, text: str) -> None:
    for other in ({}, *(FILTERS[name] for name in FILTERS_BESIDES_SEARCH)):
        for replies in (True, False):
            wanted = {**OWN, **other, "search": make_search(text, replies=replies)}
            recorder = Recorder(service_connection)
            await count_tickets(recorder.driver, ORG, Listing(**wanted))
            pages = [
                page_statement(ORG, Listing(**wanted, sort=sort), after, 21)
                for sort in SORTS
                for after in (None, AFTER)
            ]
            for statement in [*recorder.sent, *pages]:
                for plan in await explain_both(service_connection, statement):
                    assert WORDS not in used_indexes(plan)
                    assert "pk_ticket_search" in used_indexes(plan)


# --- indexing --------------------------------------------------------------------------------------------------------


async def test_indexing_reads_tickets_and_comments_from_indexes(service_connection: Connection, session: Any) -> None:
    db, sent_statements = session
    due = [Due(kind=INDEX_TICKETS, subject_id=subject, due_at=START, at=START) for subject in (TICKET, ORG)]
    for one in due:
        await timers.set_timers(db, ORG, one.subject_id, {one.kind: one.due_at})
    sent_statements.clear()
    for one in due:
        assert await jobs.resume_indexing(db, ORG, [one]) == [one]
    event = TicketResponded(at=START, actor=SYSTEM, ticket_id=TICKET, comment_id=A_RESPONSE)
    recorded_reply = Recorded(org_id=ORG, seq=1, id=UUID(int=1), event=event)
    await jobs.index_replies(db, ORG, [recorded_reply])

    reads = [one for one in sent_statements if one[0].lstrip().startswith("SELECT")]
    writes = [one for one in sent_statements if "INSERT INTO ticket_search" in one[0]]
    chunks = jobs.TICKETS_PER_BATCH // TICKETS_PER_STATEMENT
    # Index the first seven tickets, the newest ones, which have no replies, and one reply; look for new requesters.
    assert (len(reads), len(writes)) == ((3 + 1) + (3 + chunks) + 1 + (1 + chunks), (1 + 1) + chunks + 1)
    for sql, parameters in reads:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql
    for sql, parameters in writes:
        plan = await explain(service_connection, sql, parameters)
        assert find_problems(plan) == []
        assert plan["Conflict Arbiter Indexes"] == ["pk_ticket_search"]
