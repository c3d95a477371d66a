"""A requester belongs to an account from the moment that the account has proved the e-mail address."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from app.accounts.users.events import UserReactivated
from app.accounts.users.models import User
from app.accounts.users.rules import AccountStatus, is_requesters_account
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.events import SYSTEM, record
from app.requesters import service
from tests.organisation_client import Api, Desk, create_desk
from tests.requesters.rows import list_ticket_numbers, read_requesters, requester_of
from tests.tickets.rows import read_event_numbers, read_ticket_timers
from tests.tickets.search.searching import relay_events, search
from tests.tickets.users import add_customer, add_engineer, change_row, verify

MIA, ELSEWHERE = "mia@customer.example", "mia@elsewhere.example"
TEXTS = {"title": "It broke", "description": "All of it."}


async def test_earlier_tickets_belong_to_the_account_once_the_address_is_verified(desk: Desk) -> None:
    earlier, others = await desk.open(), await desk.open(requester={"email": "leo@customer.example"})
    mia = await add_customer(desk, MIA, verified=False)
    between = await desk.open()
    assert await list_ticket_numbers(mia) == []
    events = len(await read_event_numbers(desk))

    await verify(desk, mia)

    assert await list_ticket_numbers(mia) == [between["number"], earlier["number"]]
    account = {"id": earlier["requester"]["id"], "email": MIA, "name": "Mia Moreau", "userId": str(mia.id)}
    for ticket in (earlier, between):  # nothing else about it has changed
        assert await desk.read(ticket) == ticket | {"requester": account, "comments": []}
    assert await desk.read(others) == others | {"comments": []}
    assert len(await read_event_numbers(desk)) == events + 1
    assert await read_ticket_timers(desk, {"id": str(mia.id)}) == {}


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("status", [one for one in AccountStatus if one != AccountStatus.ERASED])
async def test_earlier_and_first_tickets_are_linked_under_the_same_conditions(
    desk: Desk, status: AccountStatus, *, verified: bool
) -> None:
    earlier = await desk.open()
    mia = await add_customer(desk, MIA, verified=verified)
    leo = await add_customer(desk, "leo@customer.example", verified=verified)
    for user in (mia, leo):
        await change_row(desk, user, status=status)

    async with desk.database.session(desk.id) as db:
        record(db, UserReactivated(at=real_now(), actor=SYSTEM, user_id=mia.id))
    later, first = await desk.open(), await desk.open(requester={"email": leo.email})

    is_linked = is_requesters_account(status, verified=verified)
    owners = [(await desk.read(ticket))["requester"]["userId"] for ticket in (earlier, later, first)]
    assert owners == ([str(mia.id), str(mia.id), str(leo.id)] if is_linked else [None] * 3)
    assert first["requester"] == (await desk.read(first))["requester"]


async def test_an_account_that_changes_its_address_keeps_its_tickets(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    old = await desk.open()

    await verify(desk, mia, email=ELSEWHERE)

    assert await list_ticket_numbers(mia) == [old["number"]]
    read = await desk.read(old)
    assert (requester_of(read), read["addedBy"]) == ((ELSEWHERE, "Mia Moreau", str(mia.id)), ELSEWHERE)
    assert (await desk.open(requester={"email": ELSEWHERE}))["requester"] == read["requester"]


async def test_a_new_address_that_has_a_requester_brings_its_tickets(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    old, new = await desk.open(), await desk.open(requester={"email": ELSEWHERE})
    await relay_events(desk)

    await verify(desk, mia, email=ELSEWHERE)
    last = await desk.open(requester={"email": ELSEWHERE})

    everything = [last["number"], new["number"], old["number"]]
    await relay_events(desk)
    assert await list_ticket_numbers(mia) == everything
    for filters in ({"requester": ELSEWHERE}, {"customerEmail": ELSEWHERE}, {"requester": str(mia.id)}):
        assert await list_ticket_numbers(desk.admin, **filters) == everything
    for caller in (desk, mia):
        assert await search(caller, ELSEWHERE) == everything
    assert await list_ticket_numbers(desk.admin, requester=MIA) == []
    assert await search(desk, "customer") == []
    assert {requester_of(await desk.read(one)) for one in (old, new, last)} == {(ELSEWHERE, "Mia Moreau", str(mia.id))}
    assert new["requester"]["id"] == last["requester"]["id"] != old["requester"]["id"]
    assert await list_ticket_numbers(desk.admin, requester=new["requester"]["id"]) == everything[:2]


async def test_an_account_can_change_its_address_again_and_back(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await desk.open(), await desk.open(requester={"email": ELSEWHERE})
    await verify(desk, mia, email=ELSEWHERE)
    await desk.open(requester={"email": "mia@third.example"})
    await verify(desk, mia, email="mia@third.example")
    assert await list_ticket_numbers(mia) == [3, 2, 1]

    await verify(desk, mia, email=MIA)

    assert await list_ticket_numbers(mia) == [3, 2, 1]
    requesters = await read_requesters(desk)
    assert {(one.email, one.user_id) for one in requesters} == {(MIA, mia.id)}
    assert [one.owns_email for one in requesters].count(True) == 1


async def test_a_later_owner_of_an_address_sees_nothing_of_the_earlier_one(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    hers = await desk.open()
    await desk.open(requester={"email": ELSEWHERE})
    await verify(desk, mia, email=ELSEWHERE)
    by_product = await desk.open()
    leo = await add_customer(desk, MIA, verified=False)
    own = (await leo.post("/tickets", TEXTS)).json()

    await verify(desk, leo)

    assert await list_ticket_numbers(leo) == [own["number"], by_product["number"]]
    assert await list_ticket_numbers(mia) == [2, hers["number"]]
    assert (await leo.get(f"/tickets/{hers['id']}")).status_code == 404
    assert (await mia.get(f"/tickets/{own['id']}")).status_code == 404
    await relay_events(desk)
    assert await search(desk, MIA) == await list_ticket_numbers(desk.admin, requester=MIA) == [own["number"], 3]


async def test_tickets_of_an_unverified_account_are_only_those_it_opened_itself(desk: Desk) -> None:
    sly = await add_customer(desk, MIA, verified=False)
    own = (await sly.post("/tickets", TEXTS)).json()
    by_product = await desk.open()

    assert await list_ticket_numbers(sly) == [own["number"]]
    assert own["requester"]["id"] != by_product["requester"]["id"]

    await verify(desk, sly)
    again = (await sly.post("/tickets", TEXTS)).json()
    assert again["requester"]["id"] == by_product["requester"]["id"]
    assert await list_ticket_numbers(sly) == [3, 2, 1]


async def test_an_unverified_account_keeps_one_requester_once_it_is_verified(desk: Desk) -> None:
    mia = await add_customer(desk, MIA, verified=False)
    await asyncio.gather(*(mia.post("/tickets", TEXTS) for _ in range(6)))
    await verify(desk, mia)
    await desk.open()

    (requester,) = await read_requesters(desk)
    assert (requester.email, requester.owns_email, requester.user_id) == (MIA, True, mia.id)
    assert len(await list_ticket_numbers(mia)) == 7


async def test_requesters_of_other_organisations_are_not_linked(desk: Desk, api: Api, database: Database) -> None:
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

    assert await list_ticket_numbers(desk.admin, requester=str(mia.id)) == [1]


@pytest.mark.parametrize(("verified", "linked"), [(True, [1]), (False, [])])
async def test_an_approved_user_gets_their_tickets_if_the_address_is_verified(
    desk: Desk, verified: bool, linked: list[int]
) -> None:
    engineer = await add_engineer(desk, status="PENDING", email=MIA, verified=verified)
    await desk.open()

    assert (await desk.admin.post(f"/users/{engineer.id}/approve")).status_code == 200

    assert await list_ticket_numbers(desk.admin, requester=str(engineer.id)) == linked


async def test_a_new_name_of_the_account_is_the_name_of_its_tickets(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    ticket = (await mia.post("/tickets", TEXTS)).json()
    await relay_events(desk)

    assert (await mia.patch("/me", {"lastName": "Holm"})).status_code == 200

    assert requester_of(await desk.read(ticket)) == (MIA, "Mia Holm", str(mia.id))
    assert (await search(desk, "holm"), await search(desk, "moreau")) == ([1], [])


async def test_opening_while_an_address_is_being_verified_loses_no_ticket(desk: Desk) -> None:
    for place in range(12):
        email = f"mia{place}@customer.example"
        mia = await add_customer(desk, email, verified=False)
        await asyncio.gather(
            desk.open(requester={"email": email}), verify(desk, mia), desk.open(requester={"email": email})
        )

        assert len(await list_ticket_numbers(mia)) == 2


async def test_opening_while_an_account_takes_the_address_loses_no_ticket(desk: Desk) -> None:
    for place in range(12):
        mia, new = await add_customer(desk), f"mia{place}@elsewhere.example"
        if place % 2:
            await desk.open(requester={"email": mia.email})
        await asyncio.gather(
            desk.open(requester={"email": new}), verify(desk, mia, email=new), desk.open(requester={"email": new})
        )

        assert len(await list_ticket_numbers(mia)) == 2 + place % 2


async def test_a_first_ticket_waits_for_the_account_that_is_taking_the_address(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, MIA)
    async with database.session(desk.id) as db:
        row = await db.get_one(User, (desk.id, mia.id), with_for_update={"key_share": True})
        row.email = ELSEWHERE
        await service.set_account(db, desk.id, mia.id)
        opening = asyncio.create_task(desk.open(requester={"email": ELSEWHERE}))
        await asyncio.sleep(0.3)
        assert not opening.done()

    assert (await opening)["requester"]["userId"] == str(mia.id)
    assert [UUID(str(one.user_id)) for one in await read_requesters(desk)] == [mia.id]
