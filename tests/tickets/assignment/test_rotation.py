"""New tickets are numbered without gaps, and assigned to the available users in strict rotation."""

from __future__ import annotations

import asyncio
from typing import cast

import asyncpg
import pytest
from sqlalchemy import select

from app.access.callers import ProductCaller
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.organisations.queries import get_tenant
from app.requesters.service import RequesterDetails
from app.tickets import service
from app.tickets.models import Ticket, TicketPriority
from tests.organisation_client import JSON, Desk
from tests.tickets.rows import assert_events_are_numbered_without_gaps, count_by_assignee, read_event_numbers


async def numbers_in_the_table(desk: Desk) -> list[int]:
    async with desk.database.session(desk.id) as db:
        return list(await db.scalars(select(Ticket.number).where(Ticket.org_id == desk.id).order_by(Ticket.number)))


async def product_of(desk: Desk) -> ProductCaller:
    async with desk.database.session(desk.id) as db:
        organisation = await get_tenant(db, desk.id)
    return ProductCaller(tenant=organisation, now=real_now())


@pytest.mark.parametrize("users", [1, 2, 5])
async def test_tickets_go_to_all_available_users_in_turn(desk: Desk, users: int) -> None:
    team = [desk.admin, *[await desk.another_admin(f"user{place}@growfin.test") for place in range(users - 1)]]
    order = [str(user.id) for user in team]

    turns = [(await desk.open())["assigneeId"] for _ in range(2 * users + 1)]

    assert turns == [order[number % users] for number in range(1, 2 * users + 2)]


async def test_concurrent_tickets_are_numbered_without_gaps_and_shared_exactly(desk: Desk) -> None:
    for place in range(4):
        await desk.another_admin(f"user{place}@growfin.test")

    tickets = await asyncio.gather(*(desk.open(title=f"Ticket {place}") for place in range(50)))

    assert sorted(ticket["number"] for ticket in tickets) == list(range(1, 51))
    assert sorted((await count_by_assignee(desk)).values()) == [10] * 5
    by_number = sorted(tickets, key=lambda ticket: ticket["number"])
    assert len({ticket["assigneeId"] for ticket in by_number[:5]}) == 5
    assert [t["assigneeId"] for t in by_number] == [t["assigneeId"] for t in by_number[:5]] * 10
    await assert_events_are_numbered_without_gaps(desk)
    assert len(await read_event_numbers(desk)) == 1 + 5 + 2 * 50


async def open_one(database: Database, product: ProductCaller, *, title: str | None = "x") -> None:
    async with database.driver(product.org_id) as driver:
        await service.open_ticket(
            driver,
            product,
            title=cast("str", title),
            description="x",
            priority=TicketPriority.LOW,
            requester=RequesterDetails(email="mia@customer.example"),
        )


async def test_a_ticket_that_cannot_be_written_takes_no_number(desk: Desk, database: Database) -> None:
    product = await product_of(desk)

    async def fail() -> None:
        with pytest.raises(asyncpg.NotNullViolationError):
            await open_one(database, product, title=None)

    await asyncio.gather(*(job for _ in range(12) for job in (desk.open(), fail())))

    assert await numbers_in_the_table(desk) == list(range(1, 13))
    assert (await desk.open())["number"] == 13
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_cancelled_request_takes_a_number_only_with_its_ticket(desk: Desk, database: Database) -> None:
    product = await product_of(desk)
    for delay in (0.0, 0.001, 0.002, 0.004, 0.008):
        task = asyncio.create_task(open_one(database, product))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    last = (await desk.open())["number"]

    assert await numbers_in_the_table(desk) == list(range(1, last + 1))
    await assert_events_are_numbered_without_gaps(desk)


async def test_unavailable_users_are_assigned_nothing(desk: Desk) -> None:
    bo = await desk.another_admin()
    cy = await desk.another_admin("cy@growfin.test")
    assert (await bo.patch("/me", {"available": False})).status_code == 200

    for _ in range(6):
        await desk.open()

    assert await count_by_assignee(desk) == {desk.admin.id: 3, cy.id: 3}


async def test_users_take_part_while_they_are_available(desk: Desk) -> None:
    bo = await desk.another_admin()
    given = []
    for available in (False, True, False):
        await bo.patch("/me", {"available": available})
        given.append({(await desk.open())["assigneeId"] for _ in range(2)})

    ada = str(desk.admin.id)
    assert given == [{ada}, {ada, str(bo.id)}, {ada}]


async def test_concurrent_operations_leave_events_numbered_densely(desk: Desk) -> None:
    bo = await desk.another_admin()
    tickets = [await desk.open() for _ in range(5)]

    done = await asyncio.gather(
        *(desk.api.http.post("/tickets", json=body(desk), headers={}) for _ in range(10)),
        *(desk.admin.post(f"/tickets/{t['id']}/respond", {"message": "Fixed."}) for t in tickets),
        *(bo.patch(f"/tickets/{t['id']}", {"title": "Another", "assigneeId": str(bo.id)}) for t in tickets),
        *(bo.post(f"/tickets/{t['id']}/change_status", {"status": "CLOSED"}) for t in tickets),
        bo.patch("/me", {"available": False}),
        desk.admin.patch("/me", {"firstName": f"A{new_id().hex[:6]}"}),
        desk.admin.post("/org/clock/advance", {"days": 31}),
        desk.admin.patch("/org", {"name": "Growfin & Co"}),
    )

    assert {answer.status_code for answer in done} <= {200, 201, 409}
    await assert_events_are_numbered_without_gaps(desk)


def body(desk: Desk) -> JSON:
    return {"title": "x", "description": "x", "requester": {"email": "mia@customer.example"}, "secret": desk.secret}
