"""Merge requesters over HTTP: what the remaining one gets, and what accounts see."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.problems import assert_problem
from tests.requesters.product import LEO, MIA, WORK, Product
from tests.requesters.rows import list_ticket_numbers, read_words
from tests.tickets.search.searching import relay_events, search
from tests.tickets.users import add_customer, verify


async def test_a_merged_requester_gives_everything_to_the_other_one(product: Product) -> None:
    desk = product.desk
    merged = await product.create(MIA, name="Mia", externalId="c-1")
    into = await product.create(WORK, name="Mia Chen")
    old = await desk.open()
    await relay_events(desk)

    answer = await product.merge(merged, into)

    assert answer.status_code == 200, answer.text
    assert answer.json() == into | {"externalId": "c-1"}
    assert await product.read(merged) == await product.read(into) == answer.json()
    new = await desk.open(), await desk.open(requester={"email": "mia@new.example", "externalId": "c-1"})
    for ticket in (old, *new):
        shown = (await desk.read(ticket))["requester"]
        assert (shown["id"], shown["name"]) == (into["id"], "Mia Chen")
    numbers = [ticket["number"] for ticket in (*new[::-1], old)]
    for requester in (into["id"], merged["id"], MIA):
        assert await list_ticket_numbers(desk.admin, requester=requester) == numbers
    assert len(await product.list()) == 1
    await relay_events(desk)
    assert sorted(await search(desk.admin, "chen")) == sorted(numbers)


async def test_a_product_goes_on_to_send_what_it_knew_before_the_merge(product: Product) -> None:
    merged = await product.create(MIA, externalId="c-1")
    for number in range(2):
        into = await product.create(f"into{number}@customer.example", **{"externalId": "c-2"} if number else {})
        assert (await product.merge(merged, into)).status_code == 200
        for fields in ({"externalId": "c-1"}, {"name": "Mia Chen"}, {"externalId": "c-1", "name": "Mia"}):
            ticket = await product.desk.open(requester={"email": MIA, **fields})
            assert (ticket["requester"]["id"], ticket["requester"]["email"]) == (into["id"], into["email"])
            assert (await product.create(MIA, **fields))["id"] == into["id"]


async def test_later_changes_reach_the_tickets_of_a_merged_requester(product: Product) -> None:
    one, two, three = [await product.create(email) for email in (MIA, WORK, LEO)]
    ticket = await product.desk.open()
    assert (await product.merge(one, two)).status_code == 200
    assert (await product.merge(two, three)).status_code == 200

    await product.change(three, name="Leo Ek", email="leo@new.example")

    shown = (await product.desk.read(ticket))["requester"]
    assert (shown["id"], shown["email"], shown["name"]) == (three["id"], "leo@new.example", "Leo Ek")
    for email in (MIA, WORK):
        assert (await product.desk.open(requester={"email": email}))["requester"]["id"] == three["id"]
    await product.call("DELETE", f"/requesters/{one['id']}")
    assert (await product.desk.read(ticket))["requester"]["name"] is None
    assert await read_words(product.desk) == set()


async def test_tickets_merged_into_the_requester_of_an_account_belong_to_the_account(product: Product) -> None:
    user = await add_customer(product.desk, WORK)
    into, merged = await product.create(WORK), await product.create(MIA)
    ticket = await product.desk.open()
    assert (await product.merge(merged, into)).status_code == 200
    assert await list_ticket_numbers(user) == [ticket["number"]]
    assert (await user.get(f"/tickets/{ticket['id']}")).json()["requester"]["id"] == into["id"]


async def test_an_account_that_is_created_later_gets_the_merged_tickets(product: Product) -> None:
    into, merged = await product.create(WORK), await product.create(MIA)
    ticket = await product.desk.open()
    await product.merge(merged, into)
    user = await add_customer(product.desk, WORK, verified=False)
    await verify(product.desk, user)
    assert await list_ticket_numbers(user) == [ticket["number"]]


async def test_an_account_that_proves_the_merged_address_gets_new_tickets_only(product: Product) -> None:
    into, merged = await product.create(WORK), await product.create(MIA)
    ticket = await product.desk.open()
    await product.merge(merged, into)
    user = await add_customer(product.desk, MIA, verified=False)
    await verify(product.desk, user)
    new = await product.desk.open()
    assert await list_ticket_numbers(user) == [new["number"]]
    assert (await product.desk.read(ticket))["requester"]["id"] == into["id"]


async def test_a_requester_with_an_account_is_merged_only_into_one_of_the_same_account(product: Product) -> None:
    await add_customer(product.desk, MIA)
    requester, other = await product.create(MIA), await product.create(LEO)
    assert_problem(await product.merge(requester, other), 409, "requester_has_account")
    assert_problem(await product.merge(requester, requester), 409, "same_requester")
    assert (await product.merge(other, requester)).status_code == 200
    assert_problem(await product.merge(other, requester), 409, "same_requester")


async def test_tickets_are_not_given_to_an_account_that_has_not_proved_its_address(product: Product) -> None:
    impostor = await add_customer(product.desk, MIA, verified=False)
    own = (await impostor.post("/tickets", {"title": "It broke", "description": "All of it."})).json()
    victims = await product.desk.open()

    answer = await product.merge(victims["requester"], own["requester"])

    assert_problem(answer, 409, "requester_has_account")
    assert await list_ticket_numbers(impostor) == [own["number"]]
    assert len(await product.list(email=MIA)) == 2


async def test_an_address_of_both_requesters_stays_with_the_one_that_remains(product: Product) -> None:
    user = await add_customer(product.desk, MIA)
    await product.create(MIA)
    other = await product.create(WORK)
    await verify(product.desk, user, email=WORK)  # both requesters are the account's now
    ids = [one["id"] for one in (await product.call("GET", "/requesters", email=WORK)).json()["items"]]
    (first,) = set(ids) - {other["id"]}

    assert (await product.merge(other, {"id": first})).status_code == 200

    assert await product.list(email=WORK) == [WORK]
    assert (await product.create(WORK))["id"] == first


async def test_a_requester_can_have_the_address_of_the_one_that_was_merged_into_it(product: Product) -> None:
    merged, into = await product.create(MIA), await product.create(WORK)
    await product.merge(merged, into)
    assert (await product.change(into, email=MIA)).json()["email"] == MIA
    assert await product.list(email=MIA) == [MIA]
    assert (await product.create(WORK))["id"] != into["id"]


async def test_a_requester_can_have_the_product_id_of_the_one_that_was_merged_into_it(product: Product) -> None:
    merged, into = await product.create(MIA, externalId="c-1"), await product.create(WORK, externalId="c-2")
    await product.merge(merged, into)
    assert (await product.change(into, externalId="c-1")).json()["externalId"] == "c-1"
    assert (await product.create(WORK, externalId="c-1"))["id"] == into["id"]
    assert await product.list(externalId="c-2") == []


async def test_opposite_merges_at_once_leave_one_requester(product: Product) -> None:
    one, two = await product.create(MIA), await product.create(LEO)
    answers = await asyncio.gather(product.merge(one, two), product.merge(two, one), return_exceptions=True)
    statuses: list[Any] = sorted(answer.status_code for answer in answers if isinstance(answer, httpx.Response))
    assert statuses == [200, 409]
    assert len(await product.list()) == 1
