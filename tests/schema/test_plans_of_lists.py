"""How PostgreSQL finds a page of tickets, whatever it is filtered and sorted by: through an index."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from app.tickets import queries as tickets
from app.tickets.queries import Listing, page_statement
from app.tickets.schemas import TicketFilter
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.schema.catalog import Connection
from tests.schema.plans import AFTER, ONE, ORG, SOMEBODY, START, Recorder, explain, nodes, refused, scanned

MORE = [ONE, "customer8@growfin.test"]
FILTERS: dict[str, dict[str, Any]] = {
    "a customer's own": {"requester_id": SOMEBODY},
    "assignee": {"assignee_ids": [SOMEBODY]},
    "assignee twice": {"assignee_ids": [SOMEBODY, UUID("00000001-0000-0000-0000-000000000004")]},
    "adminEmail": {"admin_emails": ["admin3@growfin.test"]},
    "adminEmail twice": {"admin_emails": ["admin3@growfin.test", "admin4@growfin.test"]},
    "customerEmail": {"customer_emails": [ONE]},
    "customerEmail twice": {"customer_emails": MORE},
    "status": {"statuses": ["OPEN"]},
    "status twice": {"statuses": ["OPEN", "RESPONDED"]},
    "priority": {"priorities": ["CRITICAL"]},
    "priority twice": {"priorities": ["HIGH", "CRITICAL"]},
    "createdAfter": {"created_after": START + timedelta(minutes=4_800)},
    "createdBefore": {"created_before": START + timedelta(minutes=200)},
    "updatedAfter": {"updated_after": START + timedelta(minutes=9_600)},
    "unassigned": {"unassigned": True},
    "assigned": {"unassigned": False},
    "q": {"search": Search(query=query(ORG, "invoice", "T"))},
    "everything": {},
}
SORTS = ("-createdAt", "createdAt", "-updatedAt", "updatedAt")


def test_every_filter_of_the_operation_is_here() -> None:
    of_the_operation = {field.alias for field in TicketFilter.model_fields.values()}
    assert of_the_operation - {"sort", "include", "limit", "cursor"} == {
        name.removesuffix(" twice") for name in FILTERS
    } - {"assigned", "everything", "a customer's own"}
    assert set(TicketFilter.model_json_schema()["properties"]["sort"]["enum"]) == set(SORTS)


@pytest.mark.parametrize("after", [None, AFTER], ids=["first page", "next page"])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", FILTERS)
async def test_a_list_of_tickets_is_read_from_an_index(
    service: Connection, name: str, sort: str, after: tuple[datetime, int] | None
) -> None:
    statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)

    assert await refused(service, *statement) == []


@pytest.mark.parametrize("sort", SORTS)
async def test_filters_together_are_read_from_an_index(service: Connection, sort: str) -> None:
    several = [*combinations(FILTERS, 2), *combinations([name for name in FILTERS if "twice" not in name], 3)]
    found = {}
    for names in several:
        filters: dict[str, Any] = {}
        for name in names:
            filters |= FILTERS[name]
        if bad := await refused(service, *page_statement(ORG, Listing(**filters, sort=sort), AFTER, 21)):
            found[names] = bad

    assert found == {}


@pytest.mark.parametrize(
    ("name", "sort", "index"),
    [
        ("everything", "-createdAt", "ix_tickets_org_id_created_at_number"),
        ("everything", "createdAt", "ix_tickets_org_id_created_at_number"),
        ("everything", "-updatedAt", "ix_tickets_org_id_updated_at_number"),
        ("everything", "updatedAt", "ix_tickets_org_id_updated_at_number"),
        ("customerEmail", "-createdAt", "ix_tickets_org_id_added_by_created_at_number"),
        ("a customer's own", "-createdAt", "ix_tickets_org_id_requester_id_created_at_number"),
        ("a customer's own", "createdAt", "ix_tickets_org_id_requester_id_created_at_number"),
        ("assignee", "-createdAt", "ix_tickets_org_id_admin_id_created_at_number"),
        ("assignee", "createdAt", "ix_tickets_org_id_admin_id_created_at_number"),
        ("adminEmail", "-createdAt", "ix_tickets_org_id_admin_id_created_at_number"),
    ],
)
async def test_a_page_is_read_in_its_order_without_sorting_what_is_not_shown(
    service: Connection, name: str, sort: str, index: str
) -> None:
    for after in (None, AFTER):
        for generic in (False, True):
            statement = page_statement(ORG, Listing(**FILTERS[name], sort=sort), after, 21)
            plan = await explain(service, *statement, generic=generic)
            limit = next(node for node in nodes(plan) if node["Node Type"] == "Limit")

            assert index in scanned(limit)
            assert not [node for node in nodes(limit) if node["Node Type"] in {"Sort", "Bitmap Heap Scan"}]


@pytest.mark.parametrize("name", FILTERS)
async def test_counting_tickets_reads_an_index(service: Connection, name: str) -> None:
    recorder = Recorder(service)
    await tickets.total(recorder.driver, ORG, Listing(**FILTERS[name]))

    assert await refused(service, *recorder.sent[0]) == []
