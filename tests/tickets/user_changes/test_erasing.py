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
    assert_events_are_numbered_without_gaps,
    insert_many,
    pass_time,
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


async def erase(desk: Desk, user: SignedInUser) -> str:
    """Erase a user; return the address that their tickets have then."""
    answer = await desk.admin.delete(f"/users/{user.id}")
    assert answer.status_code == 204, answer.text
    return f"erased-{user.id}@erased.invalid"


async def read_all_responses_about(desk: Desk, ticket: JSON) -> str:
    """Read all responses that could contain the address of a ticket's requester."""
    paths = (f"/tickets/{ticket['id']}", f"/tickets/{ticket['id']}/history", "/tickets")
    return "".join([(await desk.admin.get(path)).text for path in paths])


async def test_the_tickets_of_an_erased_requester_stay_without_the_address(desk: Desk) -> None:
    mia, leo = await add_customer(desk), await add_customer(desk)
    own = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{own['id']}", {"title": "Another"})
    by_product, leos = await desk.open(requester={"email": mia.email}), await desk.open(requester={"email": leo.email})
    before = {ticket["id"]: await desk.read(ticket) for ticket in (own, by_product)}
    assert mia.email in await read_all_responses_about(desk, own)

    erased_email = await erase(desk, mia)

    for ticket in (own, by_product):
        after, former = await desk.read(ticket), before[ticket["id"]]
        assert after == former | {
            "requester": {"email": erased_email, "userId": str(mia.id)},
            "addedBy": erased_email,
            "version": former["version"] + 1,
            "updatedAt": after["updatedAt"],
        }
        last = (await desk.history(ticket))[-1]
        assert (last["type"], last["data"]) == ("ticket.updated", {"changes": {"requester": {}}})
        responses = await read_all_responses_about(desk, ticket)
        assert mia.email not in responses
        assert "Moreau" not in responses  # the last name that `add_customer` gives
    assert await desk.read(leos) == leos | {"comments": []}
    await assert_events_are_numbered_without_gaps(desk)


async def test_no_event_contains_the_address(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk)
    ticket = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{ticket['id']}", {"description": "A part of it."})
    await desk.respond(ticket)
    await erase(desk, mia)

    async with database.session(desk.id) as db:
        rows = await db.scalars(text("SELECT data::text FROM events WHERE org_id = :org"), {"org": desk.id})
        assert not [data for data in rows if mia.email in data]


async def test_previous_addresses_of_the_requester_are_erased(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    ticket = await desk.open()
    await verify(desk, mia, email="mia@elsewhere.example")

    erased_email = await erase(desk, mia)

    assert (await desk.read(ticket))["requester"]["email"] == erased_email


async def test_a_verified_address_is_erased_from_tickets_that_were_never_linked(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await change_row(desk, mia, status="SUSPENDED")  # so that the ticket is not linked to the account
    ticket = await desk.open()
    assert ticket["requester"]["userId"] is None

    erased_email = await erase(desk, mia)

    read = await desk.read(ticket)
    assert (read["requester"]["email"], read["requester"]["userId"]) == (erased_email, str(mia.id))


async def test_an_unverified_address_stays_in_tickets_that_were_never_linked(desk: Desk) -> None:
    impostor = await add_customer(desk, MIA, verified=False)
    unlinked, own = await desk.open(), (await impostor.post("/tickets", TEXTS)).json()

    erased_email = await erase(desk, impostor)

    assert await desk.read(unlinked) == unlinked | {"comments": []}
    assert (await desk.read(own))["requester"]["email"] == erased_email


async def test_another_organisations_tickets_keep_the_address(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    theirs = await other.open()

    await erase(desk, await add_customer(desk, MIA))

    assert (await other.read(theirs))["requester"]["email"] == MIA


async def test_comments_of_erased_staff_stay_without_a_name(desk: Desk) -> None:
    engineer = await add_engineer(desk)
    ticket, own = await desk.open(), (await engineer.post("/tickets", TEXTS)).json()
    await engineer.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})

    erased_email = await erase(desk, engineer)

    read = await desk.read(ticket)
    assert read["comments"][0]["message"] == "Fixed."
    assert read["comments"][0]["author"]["id"] == str(engineer.id)
    assert (await desk.read(own))["requester"]["email"] == erased_email
    assert engineer.email not in await read_all_responses_about(desk, ticket)


async def test_a_ticket_opened_after_the_erasure_is_not_linked_to_an_account(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await erase(desk, mia)

    assert (await desk.open())["requester"]["userId"] is None


async def test_opening_and_erasing_concurrently_leaves_no_address(desk: Desk, database: Database) -> None:
    for _ in range(5):
        mia = await add_customer(desk)
        await mia.post("/tickets", TEXTS)

        answers = await asyncio.gather(
            mia.post("/tickets", TEXTS), mia.post("/tickets", TEXTS), erase(desk, mia), mia.post("/tickets", TEXTS)
        )
        await pass_time(desk, timedelta(seconds=10))
        await run_due_timers(database)

        assert {answer.status_code for answer in answers if not isinstance(answer, str)} <= {201, 401}
        assert await count(desk, Ticket.requester_email == mia.email) == 0
    await assert_events_are_numbered_without_gaps(desk)


async def test_more_than_a_thousand_tickets_are_erased_in_batches(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, MANY, verified=False)
    await insert_many(desk, 1_300)
    async with database.session(desk.id) as db:
        await db.execute(
            text("UPDATE tickets SET requester_user_id = :mia WHERE org_id = :org"), {"mia": mia.id, "org": desk.id}
        )

    erased_email = await erase(desk, mia)
    assert await count(desk, Ticket.requester_email == erased_email) == 1_000
    await pass_time(desk, timedelta(seconds=1))
    await run_due_timers(database)

    assert await count(desk, Ticket.requester_email == erased_email) == 1_300
    await assert_events_are_numbered_without_gaps(desk)
    await skip_work(desk)
