"""Erasing a user or a requester makes the name and the address anonymous everywhere at once."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM
from app.requesters import matching, service
from app.requesters.errors import RequesterNotFound
from app.requesters.service import RequesterDetails
from tests.notifications.users import read_mails_to
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.requesters.rows import list_ticket_numbers, read_requesters, read_words, requester_of
from tests.tickets.rows import assert_events_are_numbered_without_gaps, insert_many, read_event_numbers, skip_work
from tests.tickets.search.searching import relay_events, search
from tests.tickets.users import add_customer, add_engineer, change_row, verify

MIA, MANY = "mia@customer.example", "many@customer.example"
ELSEWHERE = "mia@elsewhere.example"
TEXTS = {"title": "It broke", "description": "All of it."}


async def erase(desk: Desk, user: SignedInUser) -> None:
    answer = await desk.admin.delete(f"/users/{user.id}")
    assert answer.status_code == 204, answer.text


def erased_email(ticket: JSON) -> str:
    """Return the address that a ticket's requester has once they are erased."""
    return f"erased-{ticket['requester']['id']}@erased.invalid"


async def read_whole_database(desk: Desk) -> str:
    """Read all texts of the organisation's protected tables, and its search index."""
    async with desk.database.session(desk.id) as db:
        tables = await db.scalars(
            text("SELECT DISTINCT table_name FROM information_schema.columns WHERE column_name = 'org_id'")
        )
        rows = [
            await db.scalars(text(f"SELECT one::text FROM {table} AS one WHERE org_id = :org"), {"org": desk.id})
            for table in tables.all()
        ]
        return "\n".join(row for some in rows for row in some)


async def read_all_responses_about(desk: Desk, ticket: JSON) -> str:
    """Read all responses that could contain the address of a ticket's requester."""
    paths = (f"/tickets/{ticket['id']}", f"/tickets/{ticket['id']}/history", "/tickets")
    return "".join([(await desk.admin.get(path)).text for path in paths])


async def test_the_tickets_of_an_erased_user_stay_without_the_address(desk: Desk) -> None:
    mia, leo = await add_customer(desk), await add_customer(desk, last_name="Ek")
    own = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{own['id']}", {"title": "Another"})
    by_product, leos = await desk.open(requester={"email": mia.email}), await desk.open(requester={"email": leo.email})
    before = {ticket["id"]: await desk.read(ticket) for ticket in (own, by_product)}
    assert mia.email in await read_all_responses_about(desk, own)

    await erase(desk, mia)

    for ticket in (own, by_product):
        anonymous = {"id": own["requester"]["id"], "email": erased_email(own), "name": None, "userId": str(mia.id)}
        # The ticket itself has not changed.
        assert await desk.read(ticket) == before[ticket["id"]] | {
            "requester": anonymous,
            "addedBy": erased_email(own),
        }
        responses = await read_all_responses_about(desk, ticket)
        assert mia.email not in responses
        assert "Moreau" not in responses  # the last name that `add_customer` gives
    assert await desk.read(leos) == leos | {"comments": []}
    await assert_events_are_numbered_without_gaps(desk)


async def test_nothing_of_an_erased_user_is_left_in_the_database(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    ticket = (await mia.post("/tickets", TEXTS)).json()
    await desk.open(requester={"email": ELSEWHERE})
    await desk.respond(ticket)
    await relay_events(desk)
    await verify(desk, mia, email=ELSEWHERE)
    assert len(await read_mails_to(desk, desk.admin.email)) == 2
    assert len(await read_mails_to(desk, MIA)) == 1
    whole = (await read_whole_database(desk)).lower()
    assert [word for word in (MIA, ELSEWHERE, "moreau") if word not in whole] == []

    await erase(desk, mia)

    whole = (await read_whole_database(desk)).lower()
    assert [word for word in (MIA, ELSEWHERE, "moreau", "mia@", "elsewhere") if word in whole] == []
    assert await read_words(desk) == set()
    for q in (MIA, ELSEWHERE, "moreau"):
        assert await search(desk, q) == []
    assert await search(desk, "broke") == [2, 1]


async def test_an_erased_requester_is_anonymous_everywhere_at_once(desk: Desk, database: Database) -> None:
    ticket = await desk.open(requester={"email": MIA, "name": "Mia Moreau", "locale": "de", "externalId": "1042"})
    await desk.respond(ticket)
    await relay_events(desk)
    assert await search(desk, "moreau") == [1]

    async with database.session(desk.id) as db:
        await service.erase(db, desk.id, UUID(ticket["requester"]["id"]), at=real_now(), actor=SYSTEM)

    read = await desk.read(ticket)
    assert requester_of(read) == (erased_email(ticket), None, None)
    whole = (await read_whole_database(desk)).lower()
    assert [word for word in (MIA, "moreau", "1042") if word in whole] == []
    for q in (MIA, "moreau", "erased", erased_email(ticket)):
        assert await search(desk, q) == []
    await relay_events(desk)
    assert await read_words(desk) == set()
    await desk.respond(ticket)  # to nobody
    await relay_events(desk)
    assert await read_mails_to(desk, erased_email(ticket)) == []
    with pytest.raises(RequesterNotFound):
        async with database.session(desk.id) as db:
            await service.erase(db, desk.id, UUID(ticket["requester"]["id"]), at=real_now(), actor=SYSTEM)


async def test_the_requester_of_an_account_is_erased_with_the_user_only(desk: Desk) -> None:
    """The history would still name the user."""
    mia = await add_customer(desk, MIA)
    ticket = (await mia.post("/tickets", TEXTS)).json()

    assert_problem(await desk.admin.delete(f"/requesters/{ticket['requester']['id']}"), 409, "requester_has_account")

    assert (await desk.read(ticket))["requester"] == ticket["requester"]


async def test_no_event_contains_the_address(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk)
    ticket = (await mia.post("/tickets", TEXTS)).json()
    await mia.patch(f"/tickets/{ticket['id']}", {"description": "A part of it."})
    await desk.respond(ticket)
    await erase(desk, mia)

    async with database.session(desk.id) as db:
        rows = await db.scalars(text("SELECT data::text FROM events WHERE org_id = :org"), {"org": desk.id})
        assert not [data for data in rows if mia.email in data]


async def test_all_requesters_of_the_account_are_erased(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    old, new = await desk.open(), await desk.open(requester={"email": ELSEWHERE})
    await verify(desk, mia, email=ELSEWHERE)

    await erase(desk, mia)

    for ticket in (old, new):
        assert (await desk.read(ticket))["addedBy"] == erased_email(ticket)


async def test_a_verified_address_is_erased_from_a_requester_that_was_never_linked(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await change_row(desk, mia, status="SUSPENDED")  # so that the requester is not linked to the account
    ticket = await desk.open()
    assert ticket["requester"]["userId"] is None

    await erase(desk, mia)

    assert requester_of(await desk.read(ticket)) == (erased_email(ticket), None, str(mia.id))


async def test_an_unverified_address_stays_in_a_requester_that_was_never_linked(desk: Desk) -> None:
    impostor = await add_customer(desk, MIA, verified=False)
    unlinked, own = await desk.open(), (await impostor.post("/tickets", TEXTS)).json()

    await erase(desk, impostor)

    assert await desk.read(unlinked) == unlinked | {"comments": []}
    assert (await desk.read(own))["requester"]["email"] == erased_email(own)


async def test_another_organisations_tickets_keep_the_address(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    theirs = await other.open()

    await erase(desk, await add_customer(desk, MIA))

    assert (await other.read(theirs))["requester"]["email"] == MIA


async def test_comments_of_erased_staff_stay_without_a_name(desk: Desk) -> None:
    engineer = await add_engineer(desk)
    ticket, own = await desk.open(), (await engineer.post("/tickets", TEXTS)).json()
    await engineer.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})

    await erase(desk, engineer)

    read = await desk.read(ticket)
    assert read["comments"][0]["message"] == "Fixed."
    assert read["comments"][0]["author"]["id"] == str(engineer.id)
    assert (await desk.read(own))["requester"]["email"] == erased_email(own)
    assert engineer.email not in await read_all_responses_about(desk, ticket)


async def test_a_ticket_opened_after_the_erasure_is_not_linked_to_an_account(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await erase(desk, mia)

    assert (await desk.open())["requester"]["userId"] is None


async def test_opening_and_erasing_concurrently_leaves_no_address(desk: Desk) -> None:
    for place in range(8):
        mia = await add_customer(desk)
        if place % 2:
            await mia.post("/tickets", TEXTS)

        answers = await asyncio.gather(
            mia.post("/tickets", TEXTS), mia.post("/tickets", TEXTS), erase(desk, mia), mia.post("/tickets", TEXTS)
        )

        assert {answer.status_code for answer in answers if answer is not None} <= {201, 401}
        assert mia.email not in {requester.email for requester in await read_requesters(desk)}
    await assert_events_are_numbered_without_gaps(desk)


async def test_a_product_opens_a_first_ticket_and_the_user_is_erased_concurrently(desk: Desk) -> None:
    for _ in range(8):
        mia = await add_customer(desk)
        ticket, _ = await asyncio.gather(desk.open(requester={"email": mia.email}), erase(desk, mia))

        # The ticket was opened before the erasure, or for a person who is new after it.
        found = requester_of(await desk.read(ticket))
        assert found in {(erased_email(ticket), None, str(mia.id)), (mia.email, None, None)}
        linked = [one for one in await read_requesters(desk) if one.user_id == mia.id and one.erased_at is None]
        assert linked == []


async def test_the_tickets_of_a_requester_with_thousands_are_erased_in_the_request(
    desk: Desk, database: Database
) -> None:
    mia = await add_customer(desk, MANY, verified=False)
    await insert_many(desk, 2_300)
    await verify(desk, mia)
    events = len(await read_event_numbers(desk))

    await erase(desk, mia)

    async with database.session(desk.id) as db:
        after, _ = await matching.find_or_create(db, desk.id, RequesterDetails(email=MANY))
    requesters = await read_requesters(desk)
    assert len(requesters) == 2
    assert await list_ticket_numbers(desk.admin, requester=str(after.id)) == []
    assert len(await list_ticket_numbers(desk.admin, requester=str(mia.id), limit=100)) == 100
    assert len(await read_event_numbers(desk)) == events + 1  # the user's erasure
    await skip_work(desk)
