"""GET /tickets: filters, and invalid ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import insert_many

MIA, LEO = "mia@customer.example", "leo@customer.example"
ADA, BO = "ada@growfin.test", "bo@growfin.test"
STATUSES = ("OPEN", "IN_PROGRESS", "RESPONDED", "RESOLVED", "CLOSED")
PRIORITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


@pytest.fixture(scope="module")
async def desk_with_tickets(api: Api, database: Database) -> tuple[Desk, list[JSON]]:
    """An organisation with twelve different tickets, which tests must not change; and the tickets, newest first."""
    desk = await create_desk(api, database)
    await desk.another_admin(BO)
    for place in range(12):
        ticket = await desk.open(requester={"email": (MIA, LEO, MIA)[place % 3]}, priority=PRIORITIES[place // 2 % 4])
        if status := STATUSES[place % 5]:
            await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": status})
    for number in (3, 8):
        ticket = (await desk.admin.get("/tickets", params={"limit": 100})).json()["items"][-number]
        assert (await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": None})).status_code == 200
    items = (await desk.admin.get("/tickets", params={"limit": 100})).json()["items"]
    assert [item["number"] for item in items] == list(range(12, 0, -1))
    return desk, items


async def list_ticket_numbers(desk: Desk, params: Any) -> list[int]:
    answer = await desk.admin.get("/tickets", params=params)
    assert answer.status_code == 200, answer.text
    return [item["number"] for item in answer.json()["items"]]


def _email(ticket: JSON) -> str | None:
    return ticket["assignee"] and str(ticket["assignee"]["email"])


FILTERS: list[tuple[dict[str, Any], Callable[[JSON], bool]]] = [
    *[({"status": status}, lambda t, status=status: t["status"] == status) for status in STATUSES],
    *[({"priority": priority}, lambda t, priority=priority: t["priority"] == priority) for priority in PRIORITIES],
    ({"status": ["OPEN", "RESPONDED"]}, lambda t: t["status"] in {"OPEN", "RESPONDED"}),
    ({"status": ["OPEN", "OPEN"]}, lambda t: t["status"] == "OPEN"),
    ({"priority": ["LOW", "CRITICAL"]}, lambda t: t["priority"] in {"LOW", "CRITICAL"}),
    ({"customerEmail": LEO}, lambda t: t["requester"]["email"] == LEO),
    ({"customerEmail": "Leo@Customer.EXAMPLE"}, lambda t: t["requester"]["email"] == LEO),
    ({"customerEmail": [LEO, "nobody@customer.example"]}, lambda t: t["requester"]["email"] == LEO),
    ({"adminEmail": ADA}, lambda t: _email(t) == ADA),
    ({"adminEmail": "BO@growfin.test"}, lambda t: _email(t) == BO),
    ({"adminEmail": [ADA, BO]}, lambda t: _email(t) is not None),
    ({"assignee": "none"}, lambda t: t["assigneeId"] is None),
    ({"assignee": ADA}, lambda t: _email(t) == ADA),
    ({"assignee": [ADA, "BO@growfin.test"]}, lambda t: _email(t) is not None),
    ({"assignee": ["none", BO]}, lambda t: _email(t) in {None, BO}),
    ({"assignee": ["me", "none"]}, lambda t: _email(t) in {None, ADA}),
    ({"assignee": ["me", "nobody@growfin.test"]}, lambda t: _email(t) == ADA),
    ({"requester": LEO}, lambda t: t["requester"]["email"] == LEO),
    ({"requester": ["LEO@customer.example", str(uuid4())]}, lambda t: t["requester"]["email"] == LEO),
    ({"closedAfter": "1999-01-01T00:00:00Z"}, lambda t: t["status"] == "CLOSED"),
    ({"closedBefore": "2999-01-01T00:00:00Z"}, lambda t: t["status"] == "CLOSED"),
    ({"status": "OPEN", "customerEmail": MIA}, lambda t: t["status"] == "OPEN" and t["requester"]["email"] == MIA),
    (
        {"status": ["OPEN", "CLOSED"], "adminEmail": [ADA, "nobody@growfin.test"], "customerEmail": [MIA, LEO]},
        lambda t: t["status"] in {"OPEN", "CLOSED"} and _email(t) == ADA,
    ),
    (
        {"priority": ["LOW", "HIGH"], "adminEmail": [ADA, BO], "status": list(STATUSES)},
        lambda t: t["priority"] in {"LOW", "HIGH"} and t["assigneeId"] is not None,
    ),
]


@pytest.mark.parametrize(("params", "wanted"), FILTERS)
async def test_a_filter_lists_and_counts_exactly_the_matching_tickets(
    desk_with_tickets: tuple[Desk, list[JSON]], params: dict[str, Any], wanted: Callable[[JSON], bool]
) -> None:
    desk, tickets = desk_with_tickets
    expected = [ticket["number"] for ticket in tickets if wanted(ticket)]
    assert 0 < len(expected) < len(tickets)

    assert await list_ticket_numbers(desk, params) == expected
    counted = (await desk.admin.get("/tickets", params=params | {"include": "total", "limit": 1})).json()
    assert counted["total"] == len(expected)


@pytest.mark.parametrize(
    "params",
    [
        {"adminEmail": "nobody@growfin.test"},
        {"adminEmail": ["nobody@growfin.test", "none@growfin.test"]},
        {"customerEmail": "nobody@customer.example"},
        {"adminEmail": ADA, "assignee": "none"},
        {"requester": "nobody@customer.example"},
        {"requester": str(uuid4())},
        {"assignee": str(uuid4())},
        {"closedAfter": "2999-01-01T00:00:00Z"},
        {"closedBefore": "1999-01-01T00:00:00Z"},
        {"updatedBefore": "1999-01-01T00:00:00Z"},
        {"createdAfter": "2999-01-01T00:00:00Z"},
        {"createdBefore": "1999-01-01T00:00:00+02:00"},
        {"updatedAfter": "2999-01-01T00:00:00Z"},
    ],
)
async def test_a_filter_without_matches_gives_an_empty_page(
    desk_with_tickets: tuple[Desk, list[JSON]], params: dict[str, Any]
) -> None:
    desk, _ = desk_with_tickets

    answer = await desk.admin.get("/tickets", params=params | {"include": "total"})

    assert answer.json() == {"items": [], "nextCursor": None, "total": 0}


async def test_an_unencoded_plus_in_an_offset_is_told_as_that(desk: Desk) -> None:
    answer = await desk.admin.get("/tickets?createdAfter=2026-03-02T09:30:00+01:00")
    assert answer.json()["errors"] == [
        {"field": "createdAfter", "message": "The + of the time zone offset arrived as a space: encode it as %2B."}
    ]
    assert (await desk.admin.get("/tickets?createdAfter=2026-03-02T09:30:00%2B01:00")).status_code == 200


async def test_time_filters_exclude_their_bounds(desk_with_tickets: tuple[Desk, list[JSON]]) -> None:
    desk, tickets = desk_with_tickets
    created = {ticket["number"]: ticket["createdAt"] for ticket in tickets}
    changed = next(ticket for ticket in tickets if ticket["number"] == 3)

    assert await list_ticket_numbers(desk, {"createdAfter": created[10]}) == [12, 11]
    assert await list_ticket_numbers(desk, {"createdBefore": created[3]}) == [2, 1]
    assert await list_ticket_numbers(desk, {"createdAfter": created[4], "createdBefore": created[8]}) == [7, 6, 5]
    # The last one changed is the eighth, and the one before that the third.
    assert await list_ticket_numbers(desk, {"updatedAfter": changed["updatedAt"]}) == [8]
    assert await list_ticket_numbers(desk, {"updatedAfter": changed["updatedAt"], "createdAfter": created[8]}) == []
    assert sorted(await list_ticket_numbers(desk, {"updatedBefore": changed["updatedAt"]})) == [
        1,
        2,
        4,
        5,
        6,
        7,
        9,
        10,
        11,
        12,
    ]
    closed = {ticket["number"]: ticket["closedAt"] for ticket in tickets if ticket["closedAt"]}
    assert sorted(closed) == [5, 10]
    assert await list_ticket_numbers(desk, {"closedAfter": closed[5]}) == [10]
    assert await list_ticket_numbers(desk, {"closedBefore": closed[10]}) == [5]


async def test_a_time_may_have_any_offset(desk_with_tickets: tuple[Desk, list[JSON]]) -> None:
    desk, tickets = desk_with_tickets
    boundary = tickets[2]["createdAt"]
    shifted = boundary.replace("Z", "+00:00")

    assert (
        await list_ticket_numbers(desk, {"createdAfter": shifted})
        == await list_ticket_numbers(desk, {"createdAfter": boundary})
        == [12, 11]
    )


async def test_a_listed_ticket_is_the_same_as_when_read_alone(desk_with_tickets: tuple[Desk, list[JSON]]) -> None:
    desk, tickets = desk_with_tickets

    read = await desk.read(tickets[5])

    assert {name: value for name, value in read.items() if name != "comments"} == tickets[5]


async def test_the_secret_key_lists_tickets(desk_with_tickets: tuple[Desk, list[JSON]]) -> None:
    desk, tickets = desk_with_tickets

    answer = await desk.api.http.get("/tickets", headers={"X-Org-Secret": desk.secret}, params={"limit": 100})

    assert (answer.status_code, answer.json()) == (200, {"items": tickets, "nextCursor": None})


async def test_listing_requires_a_credential(desk_with_tickets: tuple[Desk, list[JSON]]) -> None:
    desk, _ = desk_with_tickets

    answer = await desk.api.http.get("/tickets")

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_credential")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"status": "open"}, "status.0"),
        ({"status": ["OPEN", "NEW"]}, "status.1"),
        ({"priority": "URGENT"}, "priority.0"),
        ({"adminEmail": "nobody"}, "adminEmail.0"),
        ({"customerEmail": ""}, "customerEmail.0"),
        ({"status": ["OPEN"] * 21}, "status"),
        ({"createdAfter": "yesterday"}, "createdAfter"),
        ({"createdAfter": "2026-01-01T00:00:00"}, "createdAfter"),
        ({"createdBefore": "9999-12-31T23:59:59-12:00"}, "createdBefore"),
        ({"updatedAfter": "0001-01-01T00:00:00+12:00"}, "updatedAfter"),
        ({"unassigned": "true"}, "unassigned"),
        ({"assignee": "nobody"}, "assignee.0"),
        ({"assignee": ["me", ""]}, "assignee.1"),
        ({"requester": "none"}, "requester.0"),
        ({"requester": "me"}, "requester.0"),
        ({"closedAfter": "yesterday"}, "closedAfter"),
        ({"sort": "number"}, "sort"),
        ({"include": "comments"}, "include"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "99999999999999999999"}, "limit"),
        ({"page": "2"}, "page"),
        ({"orgId": str(uuid4())}, "orgId"),
        ({"Status": "OPEN"}, "Status"),
        ({"customer_email": MIA}, "customer_email"),
        ({"secret": "tsk_x"}, "secret"),
    ],
)
async def test_an_invalid_or_unknown_parameter_is_named(
    desk_with_tickets: tuple[Desk, list[JSON]], params: dict[str, Any], field: str
) -> None:
    desk, _ = desk_with_tickets

    answer = await desk.admin.get("/tickets", params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert field in [error["field"] for error in answer.json()["errors"]]


async def test_a_page_has_twenty_tickets_by_default_and_a_hundred_at_most(desk: Desk) -> None:
    await insert_many(desk, 101)

    assert len(await list_ticket_numbers(desk, {})) == 20
    assert len(await list_ticket_numbers(desk, {"limit": 1})) == 1
    assert len(await list_ticket_numbers(desk, {"limit": 100})) == 100
