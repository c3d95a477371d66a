"""Engineers: new tickets go to them first, and they find what is theirs."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.access.permissions import RoleKind
from app.accounts.users.events import UserSignedUp
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, record
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields
from tests.tickets.rows import shares, timers_of
from tests.tickets.users import a_customer, an_engineer, change_row, joins

# --- whose turn it is ------------------------------------------------------------------------------------------------


async def test_new_tickets_go_to_engineers_in_turn_and_to_no_admin(desk: Desk) -> None:
    await desk.another_admin()
    crew = sorted([(await an_engineer(desk)).id for _ in range(3)])

    turns = [(await desk.open())["assigneeId"] for _ in range(7)]

    assert turns == [str(crew[number % 3]) for number in range(1, 8)]


async def test_many_at_once_are_shared_exactly_among_the_engineers(desk: Desk) -> None:
    crew = [await an_engineer(desk) for _ in range(3)]

    await asyncio.gather(*(desk.open() for _ in range(30)))

    assert await shares(desk) == {engineer.id: 10 for engineer in crew}


@pytest.mark.parametrize(
    "columns", [{"available": False}, {"status": "PENDING"}, {"status": "SUSPENDED"}, {"status": "REJECTED"}]
)
async def test_without_an_available_engineer_new_tickets_go_to_admins(desk: Desk, columns: dict[str, Any]) -> None:
    engineer = await an_engineer(desk, **columns)
    bo = await desk.another_admin()

    for _ in range(4):
        await desk.open()

    assert await shares(desk) == {desk.admin.id: 2, bo.id: 2}
    await change_row(desk, engineer, available=True, status="ACTIVE")
    assert (await desk.open())["assigneeId"] == str(engineer.id)


async def test_customers_are_given_nothing_even_where_they_are_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    await a_customer(desk, available=True)

    assert (await desk.open())["assigneeId"] is None


async def test_what_waits_goes_to_the_engineer_who_becomes_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    tickets = [await desk.open() for _ in range(3)]
    engineer = await an_engineer(desk, available=False)

    assert (await engineer.patch("/me", {"available": True})).status_code == 200

    assert {(await desk.read(ticket))["assigneeId"] for ticket in tickets} == {str(engineer.id)}


async def test_what_waits_goes_to_an_engineer_even_where_an_admin_becomes_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    ticket = await desk.open()
    engineer = await an_engineer(desk)

    await desk.admin.patch("/me", {"available": True})

    assert (await desk.read(ticket))["assigneeId"] == str(engineer.id)


@pytest.mark.parametrize(
    ("role", "status", "looks"),
    [
        (RoleKind.CUSTOMER, AccountStatus.ACTIVE, False),
        (RoleKind.ENGINEER, AccountStatus.PENDING, False),
        (RoleKind.ADMIN, AccountStatus.PENDING, False),
        (RoleKind.ENGINEER, AccountStatus.ACTIVE, True),
        (RoleKind.ADMIN, AccountStatus.ACTIVE, True),
    ],
)
async def test_only_who_can_be_assigned_at_once_has_what_waits_looked_at(
    desk: Desk, database: Database, role: RoleKind, status: AccountStatus, looks: bool
) -> None:
    somebody = await joins(desk, role, status=status)

    async with database.session(desk.id) as db:
        record(db, UserSignedUp(at=real_now(), actor=SYSTEM, user_id=somebody.id, role=role, status=status))

    assert bool(await timers_of(desk, {"id": str(somebody.id)})) is looks


# --- finding what is theirs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def shelf(api: Api, database: Database) -> tuple[Desk, SignedInUser, list[JSON]]:
    """An organisation with an engineer, who has the odd ones of eight tickets; the admin has the others but for two."""
    desk = await create_desk(api, database)
    engineer = await an_engineer(desk, available=False)
    tickets = []
    for place in range(8):
        ticket = await desk.open(priority=("LOW", "HIGH")[place // 4])
        if place % 2 == 0:
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": str(engineer.id)})
        if place in {3, 5}:
            await desk.admin.patch(f"/tickets/{ticket['id']}", {"assigneeId": None})
        tickets.append(await desk.read(ticket))
    return desk, engineer, tickets


async def numbers(user: SignedInUser, params: Any) -> list[int]:
    answer = await user.get("/tickets", params=params | {"include": "total"})
    assert answer.status_code == 200, answer.text
    found = [ticket["number"] for ticket in answer.json()["items"]]
    assert answer.json()["total"] == len(found)
    return found


async def test_the_assignee_is_me_or_somebody(shelf: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, engineer, _ = shelf
    ada, cy = str(desk.admin.id), str(engineer.id)

    assert await numbers(engineer, {"assignee": "me"}) == [7, 5, 3, 1]
    assert await numbers(desk.admin, {"assignee": "me"}) == [8, 2]
    assert await numbers(engineer, {"assignee": ada}) == await numbers(desk.admin, {"assignee": ada}) == [8, 2]
    assert await numbers(engineer, {"assignee": ["me", ada]}) == [8, 7, 5, 3, 2, 1]
    assert await numbers(desk.admin, {"assignee": [cy, ada.upper(), cy]}) == [8, 7, 5, 3, 2, 1]
    assert await numbers(desk.admin, {"assignee": str(uuid4())}) == []


async def test_the_assignee_goes_with_the_other_filters(shelf: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, engineer, _ = shelf

    assert await numbers(engineer, {"assignee": "me", "priority": "HIGH"}) == [7, 5]
    assert await numbers(engineer, {"assignee": "me", "sort": "createdAt", "status": "OPEN"}) == [1, 3, 5, 7]
    assert await numbers(engineer, {"assignee": "me", "adminEmail": "nobody@growfin.test"}) == []
    assert await numbers(engineer, {"assignee": "me", "adminEmail": engineer.email}) == [7, 5, 3, 1]
    assert await numbers(engineer, {"assignee": "me", "adminEmail": desk.admin.email}) == []


async def test_pages_of_mine_are_mine(shelf: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, engineer, _ = shelf

    first = (await engineer.get("/tickets", params={"assignee": "me", "limit": 3})).json()
    second = (
        await engineer.get("/tickets", params={"assignee": "me", "limit": 3, "cursor": first["nextCursor"]})
    ).json()

    assert [ticket["number"] for ticket in first["items"] + second["items"]] == [7, 5, 3, 1]
    others = {"assignee": "me", "limit": 3, "cursor": first["nextCursor"]}
    refused(await desk.admin.get("/tickets", params=others), 422, "invalid_cursor")


async def test_a_product_is_nobody_and_names_users_by_their_ids(shelf: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, engineer, _ = shelf
    secret = {"X-Org-Secret": desk.secret}

    for params in ({"assignee": "me"}, {"assignee": [str(engineer.id), "me"]}):
        answer = await desk.api.http.get("/tickets", params=params, headers=secret)
        assert wrong_fields(answer) == {"assignee"}
    by_id = await desk.api.http.get("/tickets", params={"assignee": str(engineer.id)}, headers=secret)
    assert [ticket["number"] for ticket in by_id.json()["items"]] == [7, 5, 3, 1]


@pytest.mark.parametrize("value", ["", "Me", "nobody", "@growfin.test", "0190b8e5", "me,me"])
async def test_an_assignee_who_is_neither_is_refused(shelf: tuple[Desk, SignedInUser, list[JSON]], value: str) -> None:
    desk, _, _ = shelf

    assert wrong_fields(await desk.admin.get("/tickets", params={"assignee": value})) == {"assignee.0"}


async def test_twenty_assignees_at_most_can_be_named(shelf: tuple[Desk, SignedInUser, list[JSON]]) -> None:
    desk, _, _ = shelf

    assert await numbers(desk.admin, {"assignee": ["me"] * 20}) == [8, 2]
    assert wrong_fields(await desk.admin.get("/tickets", params={"assignee": ["me"] * 21})) == {"assignee"}


async def test_a_strangers_user_has_nothing_here(
    shelf: tuple[Desk, SignedInUser, list[JSON]], api: Api, database: Database
) -> None:
    desk, engineer, _ = shelf
    stranger = await create_desk(api, database)

    assert await numbers(stranger.admin, {"assignee": str(engineer.id)}) == []
    assert await numbers(desk.admin, {"assignee": str(stranger.admin.id)}) == []


# --- working ---------------------------------------------------------------------------------------------------------


async def test_an_engineer_answers_and_changes_any_ticket_of_the_organisation(desk: Desk) -> None:
    engineer = await an_engineer(desk, available=False)
    ticket = await desk.open()
    path = f"/tickets/{ticket['id']}"

    answers = [
        await engineer.post(f"{path}/respond", {"message": "Fixed."}),
        await engineer.patch(path, {"title": "Another", "assigneeId": str(engineer.id)}),
        await engineer.post(f"{path}/change_status", {"status": "CLOSED"}),
        await engineer.get(f"{path}/history"),
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    read = await desk.read(ticket)
    assert (read["title"], read["assigneeId"], read["status"]) == ("Another", str(engineer.id), "CLOSED")
    assert read["comments"][0]["author"]["email"] == engineer.email
