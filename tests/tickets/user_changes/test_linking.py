"""Tickets are linked to the account of their requester once the e-mail address is verified."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text

from app.accounts.users.events import UserReactivated
from app.accounts.users.rules import AccountStatus, is_requesters_account
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, record
from app.tickets import queries
from app.tickets.models import Ticket
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.tickets.rows import (
    insert_many,
    pass_time,
    read_event_numbers,
    read_ticket_timers,
    run_due_timers,
    skip_earlier_work,
    skip_work,
)
from tests.tickets.users import add_customer, add_engineer, change_row, verify

MIA, MANY = "mia@customer.example", "many@customer.example"
TEXTS = {"title": "It broke", "description": "All of it."}


@pytest.fixture(scope="module", autouse=True)
async def _skip_earlier_work(database: Database) -> None:
    await skip_earlier_work(database)


async def count(desk: Desk, *conditions: Any) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(func.count()).where(Ticket.org_id == desk.id, *conditions)) or 0


async def list_ticket_numbers(user: SignedInUser) -> list[int]:
    return [ticket["number"] for ticket in (await user.get("/tickets")).json()["items"]]


async def test_earlier_tickets_are_linked_once_the_address_is_verified(desk: Desk) -> None:
    earlier, others = await desk.open(), await desk.open(requester={"email": "leo@customer.example"})
    mia = await add_customer(desk, MIA, verified=False)
    between = await desk.open()
    assert await list_ticket_numbers(mia) == []
    events = len(await read_event_numbers(desk))

    await verify(desk, mia)

    assert await list_ticket_numbers(mia) == [between["number"], earlier["number"]]
    for ticket in (earlier, between):  # nothing else about it has changed
        assert await desk.read(ticket) == ticket | {"requester": {"email": MIA, "userId": str(mia.id)}, "comments": []}
    assert await desk.read(others) == others | {"comments": []}
    assert len(await read_event_numbers(desk)) == events + 1


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("status", [one for one in AccountStatus if one != AccountStatus.ERASED])
async def test_earlier_and_later_tickets_are_linked_under_the_same_conditions(
    desk: Desk, status: AccountStatus, *, verified: bool
) -> None:
    earlier = await desk.open()
    mia = await add_customer(desk, MIA, verified=verified)
    await change_row(desk, mia, status=status)

    async with desk.database.session(desk.id) as db:
        record(db, UserReactivated(at=real_now(), actor=SYSTEM, user_id=mia.id))
    later = await desk.open()

    owner = str(mia.id) if is_requesters_account(status, verified=verified) else None
    linked = [(await desk.read(ticket))["requester"]["userId"] for ticket in (earlier, later)]
    assert linked == [owner, owner]


async def test_a_new_address_links_its_tickets_and_keeps_the_earlier_ones(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    old, new = await desk.open(), await desk.open(requester={"email": "mia@elsewhere.example"})

    await verify(desk, mia, email="mia@elsewhere.example")

    assert await list_ticket_numbers(mia) == [new["number"], old["number"]]


async def test_tickets_linked_to_an_account_are_not_linked_to_a_later_owner_of_the_address(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    hers = await desk.open()
    await change_row(desk, mia, email="mia@elsewhere.example")
    leo = await add_customer(desk, MIA, verified=False)

    await verify(desk, leo)

    assert (await list_ticket_numbers(mia), await list_ticket_numbers(leo)) == ([hers["number"]], [])


async def test_tickets_of_other_organisations_are_not_linked(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    theirs = await other.open()

    await verify(desk, await add_customer(desk, MIA, verified=False))

    assert await other.read(theirs) == theirs | {"comments": []}


async def test_a_reactivated_user_gets_the_tickets_opened_in_the_meantime(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    for status in ("SUSPENDED", "ACTIVE"):
        assert (await desk.admin.patch(f"/users/{mia.id}", {"status": status})).status_code == 200
        if status == "SUSPENDED":
            assert (await desk.open())["requester"]["userId"] is None

    assert await count(desk, Ticket.requester_user_id == mia.id) == 1


@pytest.mark.parametrize(("verified", "linked"), [(True, 1), (False, 0)])
async def test_an_approved_user_gets_their_tickets_if_the_address_is_verified(
    desk: Desk, verified: bool, linked: int
) -> None:
    engineer = await add_engineer(desk, status="PENDING", email=MIA, verified=verified)
    await desk.open()

    assert (await desk.admin.post(f"/users/{engineer.id}/approve")).status_code == 200

    assert await count(desk, Ticket.requester_user_id == engineer.id) == linked


async def test_a_ticket_locked_or_opened_concurrently_is_linked_later(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, MIA, verified=False)
    busy = await desk.open()
    async with database.session(desk.id) as db:
        await queries.lock_ticket(db, desk.id, UUID(busy["id"]))
        await verify(desk, mia)
        assert await list_ticket_numbers(mia) == []
    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)
    assert await list_ticket_numbers(mia) == [1]
    await desk.open(requester={"email": "late@customer.example"})
    async with database.session(desk.id) as db:  # like a request that began before the change
        await db.execute(
            text("UPDATE tickets SET requester_email = :mia WHERE number = 2 AND org_id = :org"),
            {"mia": MIA, "org": desk.id},
        )

    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)

    assert await list_ticket_numbers(mia) == [2, 1]


async def test_opening_while_an_address_is_being_verified_loses_no_ticket(desk: Desk, database: Database) -> None:
    for place in range(5):
        email = f"mia{place}@customer.example"
        mia = await add_customer(desk, email, verified=False)
        await asyncio.gather(
            desk.open(requester={"email": email}), verify(desk, mia), desk.open(requester={"email": email})
        )
        await pass_time(desk, timedelta(seconds=10))
        await run_due_timers(database)

        assert len(await list_ticket_numbers(mia)) == 2


async def test_more_than_a_thousand_tickets_are_linked_in_batches(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, MANY, verified=False)
    await insert_many(desk, 2_300)

    await verify(desk, mia)
    assert await count(desk, Ticket.requester_user_id == mia.id) == 1_000
    for _ in range(3):
        await pass_time(desk, timedelta(seconds=1))
        await run_due_timers(database)

    assert await count(desk, Ticket.requester_user_id == mia.id) == 2_300
    assert set(await read_ticket_timers(desk, {"id": str(mia.id)})) == {"LINK_TICKETS"}  # for the last check
    await pass_time(desk, timedelta(seconds=10))
    await run_due_timers(database)
    assert await read_ticket_timers(desk, {"id": str(mia.id)}) == {}
    await skip_work(desk)
