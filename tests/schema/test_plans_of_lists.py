"""Query plans of lists of tickets: each filter and sort order reads an index."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from app.tickets.lists.filters import TicketSort
from app.tickets.lists.queries import Listing, count_tickets, page_statement
from app.tickets.lists.schemas import TicketListQuery
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.schema.catalog import Connection
from tests.schema.plans import (
    AFTER,
    ORG,
    REQUESTER_EMAIL,
    START,
    USER_ID,
    Recorder,
    explain,
    find_statement_problems,
    nodes,
    used_indexes,
)

MORE = [REQUESTER_EMAIL, "customer8@growfin.test"]
FILTERS: dict[str, dict[str, Any]] = {
    "a customer's own": {"account_id": USER_ID},
    "assignee": {"filters": {"assignee": [USER_ID]}},
    "assignee twice": {"filters": {"assignee": [USER_ID, UUID("00000001-0000-0000-0000-000000000004")]}},
    "assignee by e-mail": {"filters": {"assignee": ["admin3@growfin.test"]}},
    "assignee by id and e-mail": {"filters": {"assignee": [USER_ID, "admin4@growfin.test", "admin5@growfin.test"]}},
    "no assignee": {"filters": {"assignee": ["none"]}},
    "assignee or none": {"filters": {"assignee": ["none", USER_ID]}},
    "adminEmail": {"filters": {"admin_email": ["admin3@growfin.test"]}},
    "adminEmail twice": {"filters": {"admin_email": ["admin3@growfin.test", "admin4@growfin.test"]}},
    "requester": {"filters": {"requester": [REQUESTER_EMAIL]}},
    "requester twice": {"filters": {"requester": MORE}},
    "requester by id": {"filters": {"requester": [USER_ID]}},
    "requester by id and e-mail": {"filters": {"requester": [USER_ID, *MORE]}},
    "customerEmail": {"filters": {"customer_email": [REQUESTER_EMAIL]}},
    "customerEmail twice": {"filters": {"customer_email": MORE}},
    "status": {"filters": {"status": ["OPEN"]}},
    "status twice": {"filters": {"status": ["OPEN", "RESPONDED"]}},
    "priority": {"filters": {"priority": ["CRITICAL"]}},
    "priority twice": {"filters": {"priority": ["HIGH", "CRITICAL"]}},
    "createdAfter": {"filters": {"created_after": [START + timedelta(minutes=4_800)]}},
    "createdBefore": {"filters": {"created_before": [START + timedelta(minutes=200)]}},
    "updatedAfter": {"filters": {"updated_after": [START + timedelta(minutes=9_600)]}},
    "updatedBefore": {"filters": {"updated_before": [START + timedelta(minutes=400)]}},
    "closedAfter": {"filters": {"closed_after": [START + timedelta(minutes=4_900)]}},
    "closedBefore": {"filters": {"closed_before": [START + timedelta(minutes=300)]}},
    "q": {"search": Search(query=query(ORG, "invoice", "T"))},
    "everything": {},
}
VARIANTS = ("a customer's own", "everything", *(name for name in FILTERS if " " in name))
SORTS = tuple(TicketSort)


def combine(*names: str, **fields: Any) -> Listing:
    """Make the listing with all of these filters."""
    filters: dict[str, Any] = {}
    for name in names:
        filters |= FILTERS[name].get("filters", {})
        fields |= {key: value for key, value in FILTERS[name].items() if key != "filters"}
    return Listing(filters=filters, **fields)


def test_every_filter_of_tickets_is_tested() -> None:
    parameters_of_the_operation = {field.alias for field in TicketListQuery.model_fields.values()}
    assert parameters_of_the_operation - {"sort", "include", "limit", "cursor"} == FILTERS.keys() - set(VARIANTS)


@pytest.mark.parametrize("after", [None, AFTER], ids=["first page", "next page"])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", FILTERS)
async def test_a_list_of_tickets_is_read_from_an_index(
    service_connection: Connection, name: str, sort: TicketSort, after: tuple[datetime, int] | None
) -> None:
    statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)

    assert await find_statement_problems(service_connection, *statement) == []


@pytest.mark.parametrize("sort", SORTS)
async def test_combined_filters_are_read_from_an_index(service_connection: Connection, sort: TicketSort) -> None:
    several = [*combinations(FILTERS, 2), *combinations([name for name in FILTERS if name not in VARIANTS], 3)]
    found = {}
    for names in several:
        if bad := await find_statement_problems(
            service_connection, *page_statement(ORG, combine(*names, sort=sort), AFTER, 21)
        ):
            found[names] = bad

    assert found == {}


@pytest.mark.parametrize(
    ("name", "sort", "index"),
    [
        ("everything", TicketSort("-createdAt"), "ix_tickets_org_id_created_at_number"),
        ("everything", TicketSort("createdAt"), "ix_tickets_org_id_created_at_number"),
        ("everything", TicketSort("-updatedAt"), "ix_tickets_org_id_updated_at_number"),
        ("everything", TicketSort("updatedAt"), "ix_tickets_org_id_updated_at_number"),
        ("requester", TicketSort("-createdAt"), "ix_tickets_org_id_requester_id_created_at_number"),
        ("a customer's own", TicketSort("-createdAt"), "ix_tickets_org_id_requester_id_created_at_number"),
        ("a customer's own", TicketSort("createdAt"), "ix_tickets_org_id_requester_id_created_at_number"),
        ("assignee", TicketSort("-createdAt"), "ix_tickets_org_id_assignee_id_created_at_number"),
        ("assignee", TicketSort("createdAt"), "ix_tickets_org_id_assignee_id_created_at_number"),
        ("assignee by e-mail", TicketSort("-createdAt"), "ix_tickets_org_id_assignee_id_created_at_number"),
        ("requester by id", TicketSort("-createdAt"), "ix_tickets_org_id_requester_id_created_at_number"),
    ],
)
async def test_a_page_is_read_in_order_from_an_index_without_sorting(
    service_connection: Connection, name: str, sort: TicketSort, index: str
) -> None:
    for after in (None, AFTER):
        for generic in (False, True):
            statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)
            plan = await explain(service_connection, *statement, generic=generic)
            # The last one: a page of several requesters merges the first tickets of each.
            *_, limit = (node for node in nodes(plan) if node["Node Type"] == "Limit")

            assert index in used_indexes(limit)
            assert not [node for node in nodes(limit) if node["Node Type"] in {"Sort", "Bitmap Heap Scan"}]


@pytest.mark.parametrize("name", FILTERS)
async def test_counting_tickets_reads_an_index(service_connection: Connection, name: str) -> None:
    recorder = Recorder(service_connection)
    await count_tickets(recorder.driver, ORG, Listing(**FILTERS[name]))

    assert await find_statement_problems(service_connection, *recorder.sent[0]) == []
