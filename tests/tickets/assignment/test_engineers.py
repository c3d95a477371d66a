"""New and waiting tickets go to engineers first, and to admins only if no engineer is available."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.access.user_permissions import RoleKind
from app.accounts.users.events import UserSignedUp
from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, record
from tests.organisation_client import Desk
from tests.tickets.rows import count_by_assignee, read_ticket_timers
from tests.tickets.users import add_and_sign_in, add_customer, add_engineer, change_row


async def test_new_tickets_go_to_engineers_in_turn_and_not_to_admins(desk: Desk) -> None:
    await desk.another_admin()
    crew = sorted([(await add_engineer(desk)).id for _ in range(3)])

    turns = [(await desk.open())["assigneeId"] for _ in range(7)]

    assert turns == [str(crew[number % 3]) for number in range(1, 8)]


async def test_concurrent_tickets_are_shared_exactly_among_the_engineers(desk: Desk) -> None:
    crew = [await add_engineer(desk) for _ in range(3)]

    await asyncio.gather(*(desk.open() for _ in range(30)))

    assert await count_by_assignee(desk) == {engineer.id: 10 for engineer in crew}


@pytest.mark.parametrize(
    "columns", [{"available": False}, {"status": "PENDING"}, {"status": "SUSPENDED"}, {"status": "REJECTED"}]
)
async def test_without_an_available_engineer_new_tickets_go_to_admins(desk: Desk, columns: dict[str, Any]) -> None:
    engineer = await add_engineer(desk, **columns)
    bo = await desk.another_admin()

    for _ in range(4):
        await desk.open()

    assert await count_by_assignee(desk) == {desk.admin.id: 2, bo.id: 2}
    await change_row(desk, engineer, available=True, status="ACTIVE")
    assert (await desk.open())["assigneeId"] == str(engineer.id)


async def test_customers_are_assigned_nothing_even_if_they_are_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    await add_customer(desk, available=True)

    assert (await desk.open())["assigneeId"] is None


async def test_waiting_tickets_go_to_the_engineer_who_becomes_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    tickets = [await desk.open() for _ in range(3)]
    engineer = await add_engineer(desk, available=False)

    assert (await engineer.patch("/me", {"available": True})).status_code == 200

    assert {(await desk.read(ticket))["assigneeId"] for ticket in tickets} == {str(engineer.id)}


async def test_waiting_tickets_go_to_an_engineer_even_if_an_admin_becomes_available(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})
    ticket = await desk.open()
    engineer = await add_engineer(desk)

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
async def test_only_a_user_who_can_be_assigned_tickets_at_once_triggers_the_assignment_of_waiting_ones(
    desk: Desk, database: Database, role: RoleKind, status: AccountStatus, looks: bool
) -> None:
    user = await add_and_sign_in(desk, role, status=status, available=role != RoleKind.CUSTOMER)

    async with database.session(desk.id) as db:
        record(db, UserSignedUp(at=real_now(), actor=SYSTEM, user_id=user.id, role=role, status=status))

    assert bool(await read_ticket_timers(desk, {"id": str(user.id)})) is looks


async def test_engineers_reply_to_and_change_any_ticket_of_the_organisation(desk: Desk) -> None:
    engineer = await add_engineer(desk, available=False)
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
