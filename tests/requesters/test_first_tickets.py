"""Requesters are made with their first ticket, and updated by what the product sends with later ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from app.accounts.users.rules import AccountStatus
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.ids import new_id
from app.core.outbox.events import SYSTEM
from app.requesters.service import RequesterDetails
from app.tickets.models import TicketPriority
from app.tickets.opening import Opening, insert_ticket
from tests.organisation_client import JSON, Desk
from tests.problems import read_invalid_fields
from tests.requesters.rows import list_ticket_numbers, read_requesters, requester_of
from tests.tickets.search.searching import relay_events, search
from tests.tickets.users import add_customer, change_row

if TYPE_CHECKING:
    from app.core.database.pool import Driver

MIA, LEO = "mia@customer.example", "leo@customer.example"
TEXTS = {"title": "It broke", "description": "All of it."}


async def post(desk: Desk, **requester: object) -> Any:
    body = TEXTS | {"requester": {"email": MIA} | requester}
    return await desk.api.http.post("/tickets", json=body, headers={"X-Org-Secret": desk.secret})


async def test_twenty_parallel_first_tickets_of_an_address_make_one_requester(desk: Desk) -> None:
    tickets = await asyncio.gather(*(desk.open() for _ in range(20)))

    (requester,) = await read_requesters(desk)
    assert {ticket["requester"]["id"] for ticket in tickets} == {str(requester.id)}
    assert sorted(ticket["number"] for ticket in tickets) == list(range(1, 21))


@pytest.mark.parametrize("verified", [True, False])
async def test_twenty_parallel_first_tickets_of_a_user_make_one_requester(desk: Desk, *, verified: bool) -> None:
    mia = await add_customer(desk, MIA, verified=verified)
    answers = await asyncio.gather(*(mia.post("/tickets", TEXTS) for _ in range(20)))

    (requester,) = await read_requesters(desk)
    assert {answer.json()["requester"]["id"] for answer in answers} == {str(requester.id)}


async def test_first_tickets_of_a_product_and_a_user_at_the_same_time_make_one_requester(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await asyncio.gather(*(one for _ in range(10) for one in (mia.post("/tickets", TEXTS), desk.open())))

    (requester,) = await read_requesters(desk)
    assert requester.user_id == mia.id
    assert len(await list_ticket_numbers(mia)) == 20


async def test_details_of_the_requester_are_kept_and_replaced(desk: Desk) -> None:
    first = (await post(desk, name=" Mia  Chen", locale="de-AT", externalId="1042")).json()
    assert requester_of(first) == (MIA, "Mia  Chen", None)
    second = (await post(desk, email="MIA@customer.example")).json()
    third = (await post(desk, name="Mia Holm", externalId="1042")).json()

    (requester,) = await read_requesters(desk)
    assert (requester.name, requester.locale, requester.external_id) == ("Mia Holm", "de-AT", "1042")
    assert {ticket["requester"]["id"] for ticket in (first, second, third)} == {str(requester.id)}
    assert requester_of(second) == (MIA, "Mia  Chen", None)
    assert requester_of(third) == requester_of(await desk.read(first)) == (MIA, "Mia Holm", None)


async def test_an_external_id_finds_the_requester_whose_address_has_changed(desk: Desk) -> None:
    first = (await post(desk, externalId="1042")).json()
    second = (await post(desk, email=LEO, externalId="1042")).json()

    assert first["requester"]["id"] == second["requester"]["id"]
    assert requester_of(await desk.read(first)) == requester_of(second) == (LEO, None, None)
    assert (await desk.open())["requester"]["id"] != first["requester"]["id"]


async def test_the_address_of_an_account_is_not_replaced_by_the_products(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    await post(desk, externalId="1042")

    assert requester_of((await post(desk, email=LEO, externalId="1042")).json())[::2] == (MIA, str(mia.id))


async def test_an_external_id_of_another_requester_is_refused(desk: Desk) -> None:
    await post(desk, externalId="1042")
    await post(desk, email=LEO, externalId="7")

    answer = await post(desk, email=LEO, externalId="1042")

    assert (answer.status_code, answer.json()["code"]) == (409, "external_id_taken")
    assert len(await list_ticket_numbers(desk.admin)) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "x" * 101), ("locale", "German"), ("externalId", " "), ("externalId", "x" * 256)],
)
async def test_bad_details_are_refused(desk: Desk, field: str, value: str) -> None:
    assert read_invalid_fields(await post(desk, **{field: value})) == {f"requester.{field}"}
    assert await read_requesters(desk) == []


async def test_a_customer_cannot_send_details_of_themselves(desk: Desk) -> None:
    mia = await add_customer(desk, MIA)
    answer = await mia.post("/tickets", TEXTS | {"requester": {"email": MIA, "externalId": "1042"}})

    assert read_invalid_fields(answer) == {"requester"}


async def test_parallel_tickets_with_the_same_details_make_one_requester(desk: Desk) -> None:
    answers = await asyncio.gather(*(post(desk, name="Mia Chen", externalId="1042") for _ in range(12)))

    assert {answer.status_code for answer in answers} == {201}
    assert len(await read_requesters(desk)) == 1


async def test_a_name_is_found_by_search(desk: Desk) -> None:
    await post(desk, name="Søren Østergård")
    await desk.open(requester={"email": LEO})
    await relay_events(desk)

    for q in ("soren", "ostergard soren", "ØSTERGÅRD", "mia", "soren broke", f"{MIA} all"):
        assert await search(desk, q) == [1], q
    assert await search(desk, "customer") == [2, 1]
    assert await search(desk, "leo soren") == []

    await post(desk, name="Mia Holm")
    await relay_events(desk)
    assert (await search(desk, "soren"), await search(desk, "holm")) == ([], [3, 1])


class CountingDriver:
    """The driver, with the number of statements that were sent."""

    def __init__(self, driver: Driver) -> None:
        self._driver, self.count = driver, 0

    def __getattr__(self, name: str) -> Any:
        self.count += 1
        return getattr(self._driver, name)


async def count_statements(desk: Desk, database: Database, **requester: Any) -> int:
    new = Opening(
        org_id=desk.id, id=new_id(), title="It broke", description="All of it.", priority=TicketPriority.LOW,
        now=real_now(), actor=SYSTEM, **{"requester": None, **requester},
    )  # fmt: skip
    async with database.driver(desk.id) as driver:
        counting = CountingDriver(driver)
        assert await insert_ticket(cast("Driver", counting), new) is not None
    return counting.count


async def test_a_known_requester_costs_no_statement_and_a_new_one_costs_one(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, LEO)
    known: list[JSON] = [
        {"requester": RequesterDetails(email=MIA)},
        {"requester": RequesterDetails(email="ben@customer.example", name="Ben", external_id="7")},
    ]

    assert [await count_statements(desk, database, **one) for one in known] == [4, 4]
    assert [await count_statements(desk, database, **one) for one in known] == [3, 4]
    await count_statements(desk, database, requester_user_id=mia.id)
    assert await count_statements(desk, database, requester_user_id=mia.id) == 3


async def test_a_suspended_user_cannot_open_a_first_ticket(desk: Desk, database: Database) -> None:
    mia = await add_customer(desk, MIA)
    await change_row(desk, mia, status=AccountStatus.SUSPENDED)
    new = Opening(
        org_id=desk.id, id=new_id(), title="It broke", description="All of it.", priority=TicketPriority.LOW,
        now=real_now(), actor=SYSTEM, requester=None, requester_user_id=mia.id,
    )  # fmt: skip

    async with database.driver(desk.id) as driver:
        assert await insert_ticket(driver, new) is None
    assert await read_requesters(desk) == []
