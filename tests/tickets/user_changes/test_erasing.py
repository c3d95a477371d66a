"""The e-mail address of an erased user is erased from the tickets that they requested."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.core.database.pool import Database
from app.tickets.models import Ticket
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.tickets.rows import (
    assert_events_are_numbered_densely,
    forget_what_is_left,
    forget_work,
    insert_many,
    pass_time,
    work_off_timers,
)
from tests.tickets.users import a_customer, an_engineer, change_row, verify

MIA, MANY = "mia@customer.example", "many@customer.example"
TEXTS = {"title": "It broke", "description": "All of it."}


@pytest.fixture(scope="module", autouse=True)
async def _nothing_left(database: Database) -> None:
    await forget_what_is_left(database)


async def count(desk: Desk, *which: Any) -> int:
    async with desk.database.session(desk.id) as db:
        return await db.scalar(select(func.count()).where(Ticket.org_id == desk.id, *which)) or 0


async def erase(desk: Desk, user: SignedInUser) -> str:
    """Erase somebody; returns the address that their tickets have then."""
    answer = await desk.admin.delete(f"/users/{user.id}")
    assert answer.status_code == 204, answer.text
    return f"erased-{user.id}@erased.invalid"


async def everything_said_of(desk: Desk, ticket: JSON) -> str:
    """All answers in which a ticket's requester could be named."""
    paths = (f"/tickets/{ticket['id']}", f"/tickets/{ticket['id']}/history", "/tickets")
    return "".join([(await desk.admin.get(path)).text for path in paths])


async def test_the_tickets_of_a_requester_who_is_erased_stay_without_a_name(desk: Desk) -> None:
    mia, leo = await a_customer(desk), await a_customer(desk)
    own = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{own['id']}", {"title": "Another"})
    by_product, leos = await desk.open(requester={"email": mia.email}), await desk.open(requester={"email": leo.email})
    before = {ticket["id"]: await desk.read(ticket) for ticket in (own, by_product)}
    assert mia.email in await everything_said_of(desk, own)

    nobody = await erase(desk, mia)

    for ticket in (own, by_product):
        read, then = await desk.read(ticket), before[ticket["id"]]
        assert read == then | {
            "requester": {"email": nobody, "userId": str(mia.id)},
            "addedBy": nobody,
            "version": then["version"] + 1,
            "updatedAt": read["updatedAt"],
        }
        last = (await desk.history(ticket))[-1]
        assert (last["type"], last["data"]) == ("ticket.updated", {"changes": {"requester": {}}})
        said = await everything_said_of(desk, ticket)
        assert mia.email not in said
        assert "Moreau" not in said
    assert await desk.read(leos) == leos | {"comments": []}
    await assert_events_are_numbered_densely(desk)


async def test_no_event_ever_held_the_address(desk: Desk, database: Database) -> None:
    mia = await a_customer(desk)
    ticket = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{ticket['id']}", {"description": "A part of it."})
    await desk.respond(ticket)
    await erase(desk, mia)

    async with database.session(desk.id) as db:
        rows = await db.scalars(text("SELECT data::text FROM events WHERE org_id = :org"), {"org": desk.id})
        assert not [data for data in rows if mia.email in data]


async def test_old_addresses_of_a_requester_go_as_well(desk: Desk) -> None:
    mia = await a_customer(desk, MIA)
    ticket = await desk.open()
    await verify(desk, mia, email="mia@elsewhere.example")

    nobody = await erase(desk, mia)

    assert (await desk.read(ticket))["requester"]["email"] == nobody


async def test_a_verified_address_goes_from_tickets_that_were_never_linked(desk: Desk) -> None:
    mia = await a_customer(desk, MIA)
    await change_row(desk, mia, status="SUSPENDED")
    ticket = await desk.open()
    assert ticket["requester"]["userId"] is None

    nobody = await erase(desk, mia)

    read = await desk.read(ticket)
    assert (read["requester"]["email"], read["requester"]["userId"]) == (nobody, str(mia.id))


async def test_an_address_that_was_never_verified_stays_in_tickets_that_are_not_theirs(desk: Desk) -> None:
    sly = await a_customer(desk, MIA, verified=False)
    of_somebody, own = await desk.open(), (await sly.post("/tickets", TEXTS)).json()

    nobody = await erase(desk, sly)

    assert await desk.read(of_somebody) == of_somebody | {"comments": []}
    assert (await desk.read(own))["requester"]["email"] == nobody


async def test_another_organisations_tickets_keep_the_address(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    theirs = await other.open()

    await erase(desk, await a_customer(desk, MIA))

    assert (await other.read(theirs))["requester"]["email"] == MIA


async def test_answers_of_staff_who_are_erased_stay_without_a_name(desk: Desk) -> None:
    engineer = await an_engineer(desk)
    ticket, own = await desk.open(), (await engineer.post("/tickets", TEXTS)).json()
    await engineer.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})

    nobody = await erase(desk, engineer)

    read = await desk.read(ticket)
    assert read["comments"][0]["message"] == "Fixed."
    assert read["comments"][0]["author"]["id"] == str(engineer.id)
    assert (await desk.read(own))["requester"]["email"] == nobody
    assert engineer.email not in await everything_said_of(desk, ticket)


async def test_what_the_product_opens_afterwards_is_nobodys(desk: Desk) -> None:
    mia = await a_customer(desk, MIA)
    await erase(desk, mia)

    assert (await desk.open())["requester"]["userId"] is None


async def test_to_open_and_to_erase_at_once_leaves_no_address(desk: Desk, database: Database) -> None:
    for _ in range(5):
        mia = await a_customer(desk)
        await mia.post("/tickets", TEXTS)

        answers = await asyncio.gather(
            mia.post("/tickets", TEXTS), mia.post("/tickets", TEXTS), erase(desk, mia), mia.post("/tickets", TEXTS)
        )
        await pass_time(desk, timedelta(seconds=10))
        await work_off_timers(database)

        assert {answer.status_code for answer in answers if not isinstance(answer, str)} <= {201, 401}
        assert await count(desk, Ticket.requester_email == mia.email) == 0
    await assert_events_are_numbered_densely(desk)


async def test_more_than_a_thousand_are_made_anonymous_in_batches(desk: Desk, database: Database) -> None:
    mia = await a_customer(desk, MANY, verified=False)
    await insert_many(desk, 1_300)
    async with database.session(desk.id) as db:
        await db.execute(
            text("UPDATE tickets SET requester_user_id = :mia WHERE org_id = :org"), {"mia": mia.id, "org": desk.id}
        )

    nobody = await erase(desk, mia)
    assert await count(desk, Ticket.requester_email == nobody) == 1_000
    await pass_time(desk, timedelta(seconds=1))
    await work_off_timers(database)

    assert await count(desk, Ticket.requester_email == nobody) == 1_300
    await assert_events_are_numbered_densely(desk)
    await forget_work(desk)
