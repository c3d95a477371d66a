"""GET /tickets?assignee=…: the caller's tickets, and those of other users."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.tickets.users import add_engineer


@pytest.fixture(scope="module")
async def desk_with_tickets(api: Api, database: Database) -> tuple[Desk, SignedInUser, list[JSON]]:
    """Eight tickets: the engineer has those with odd numbers, and the admin the others except two."""
    desk = await create_desk(api, database)
    engineer = await add_engineer(desk, available=False)
    tickets = []
    for place in range(8):
        ticket = await desk.open(priority=("LOW", "HIGH")[place // 4])
        if place % 2 == 0:
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(engineer.id)})
        if place in {3, 5}:
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": None})
        tickets.append(await desk.read(ticket))
    return desk, engineer, tickets


async def list_ticket_numbers(user: SignedInUser, params: Any) -> list[int]:
    answer = await user.get("/tickets", params=params | {"include": "total"})
    assert answer.status_code == 200, answer.text
    found = [ticket["number"] for ticket in answer.json()["items"]]
    assert answer.json()["total"] == len(found)
    return found


async def test_tickets_are_filtered_by_the_caller_or_another_assignee(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]],
) -> None:
    desk, engineer, _ = desk_with_tickets
    ada, cy = str(desk.admin.id), str(engineer.id)

    assert await list_ticket_numbers(engineer, {"assignee": "me"}) == [7, 5, 3, 1]
    assert await list_ticket_numbers(desk.admin, {"assignee": "me"}) == [8, 2]
    assert (
        await list_ticket_numbers(engineer, {"assignee": ada})
        == await list_ticket_numbers(desk.admin, {"assignee": ada})
        == [8, 2]
    )
    assert await list_ticket_numbers(engineer, {"assignee": ["me", ada]}) == [8, 7, 5, 3, 2, 1]
    assert await list_ticket_numbers(desk.admin, {"assignee": [cy, ada.upper(), cy]}) == [8, 7, 5, 3, 2, 1]
    assert await list_ticket_numbers(desk.admin, {"assignee": str(uuid4())}) == []


async def test_the_assignee_is_combined_with_other_filters(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]],
) -> None:
    desk, engineer, _ = desk_with_tickets

    assert await list_ticket_numbers(engineer, {"assignee": "me", "priority": "HIGH"}) == [7, 5]
    assert await list_ticket_numbers(engineer, {"assignee": "me", "sort": "createdAt", "status": "OPEN"}) == [
        1,
        3,
        5,
        7,
    ]
    assert await list_ticket_numbers(engineer, {"assignee": "me", "adminEmail": "nobody@growfin.test"}) == []
    assert await list_ticket_numbers(engineer, {"assignee": "me", "adminEmail": engineer.email}) == [7, 5, 3, 1]
    assert await list_ticket_numbers(engineer, {"assignee": "me", "adminEmail": desk.admin.email}) == []


async def test_pages_of_the_callers_tickets_contain_no_tickets_of_other_users(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]],
) -> None:
    desk, engineer, _ = desk_with_tickets

    first = (await engineer.get("/tickets", params={"assignee": "me", "limit": 3})).json()
    second = (
        await engineer.get("/tickets", params={"assignee": "me", "limit": 3, "cursor": first["nextCursor"]})
    ).json()

    assert [ticket["number"] for ticket in first["items"] + second["items"]] == [7, 5, 3, 1]
    others = {"assignee": "me", "limit": 3, "cursor": first["nextCursor"]}
    assert_problem(await desk.admin.get("/tickets", params=others), 422, "invalid_cursor")


async def test_a_product_cannot_filter_by_me_and_names_users_by_id(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]],
) -> None:
    desk, engineer, _ = desk_with_tickets
    secret = {"X-Org-Secret": desk.secret}

    for params in ({"assignee": "me"}, {"assignee": [str(engineer.id), "me"]}):
        answer = await desk.api.http.get("/tickets", params=params, headers=secret)
        assert read_invalid_fields(answer) == {"assignee"}
    by_id = await desk.api.http.get("/tickets", params={"assignee": str(engineer.id)}, headers=secret)
    assert [ticket["number"] for ticket in by_id.json()["items"]] == [7, 5, 3, 1]


@pytest.mark.parametrize("value", ["", "Me", "nobody", "@growfin.test", "0190b8e5", "me,me"])
async def test_an_invalid_assignee_is_refused(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]], value: str
) -> None:
    desk, _, _ = desk_with_tickets

    assert read_invalid_fields(await desk.admin.get("/tickets", params={"assignee": value})) == {"assignee.0"}


async def test_at_most_twenty_assignees_can_be_named(desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, _, _ = desk_with_tickets

    assert await list_ticket_numbers(desk.admin, {"assignee": ["me"] * 20}) == [8, 2]
    assert read_invalid_fields(await desk.admin.get("/tickets", params={"assignee": ["me"] * 21})) == {"assignee"}


async def test_a_user_of_another_organisation_has_no_tickets_here(
    desk_with_tickets: tuple[Desk, SignedInUser, list[JSON]], api: Api, database: Database
) -> None:
    desk, engineer, _ = desk_with_tickets
    other = await create_desk(api, database)

    assert await list_ticket_numbers(other.admin, {"assignee": str(engineer.id)}) == []
    assert await list_ticket_numbers(desk.admin, {"assignee": str(other.admin.id)}) == []
