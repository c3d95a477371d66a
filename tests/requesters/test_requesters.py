"""List, create, change and erase requesters over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from tests.access.world import create_world
from tests.organisation_client import JSON, Api, create_desk
from tests.problems import assert_problem
from tests.requesters.product import LEO, MIA, WORK, Product
from tests.requesters.rows import list_ticket_numbers, read_words
from tests.tickets.users import add_customer

# --- create and read -------------------------------------------------------------------------------------------------


async def test_a_requester_is_created_once_and_updated_after_that(product: Product) -> None:
    fields = {"email": "Mia@Customer.Example", "name": "Mia Chen", "locale": "en-GB", "externalId": "c-1"}
    first = await product.call("POST", "/requesters", fields)
    made = first.json()
    again = await product.call("POST", "/requesters", {"email": MIA, "name": "Mia C. Chen"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"] == again.headers["Location"] == f"/requesters/{made['id']}"
    assert made.keys() == {"id", "email", "name", "locale", "externalId", "userId", "createdAt"}
    assert (made["email"], made["name"], made["locale"], made["externalId"]) == (MIA, "Mia Chen", "en-GB", "c-1")
    assert again.json() == await product.read(made) == made | {"name": "Mia C. Chen"}


async def test_a_product_finds_a_requester_by_its_own_id_although_the_address_has_changed(product: Product) -> None:
    made = await product.create(MIA, externalId="c-1")
    ticket = await product.desk.open(requester={"email": MIA})

    moved = await product.create(WORK, externalId="c-1")

    assert moved == made | {"email": WORK}
    assert (await product.desk.read(ticket))["requester"]["email"] == WORK
    assert await product.list(externalId="c-1") == await product.list(email=WORK) == [WORK]
    assert await product.list(email=MIA) == []


async def test_an_id_of_one_requester_and_an_address_of_another_are_refused(product: Product) -> None:
    await product.create(MIA, externalId="c-1")
    await product.create(LEO)
    answer = await product.call("POST", "/requesters", {"email": LEO, "externalId": "c-1"})
    assert_problem(answer, 409, "external_id_taken")


async def test_concurrent_calls_make_one_requester(product: Product) -> None:
    made = await asyncio.gather(*(product.create(MIA, externalId="c-1") for _ in range(10)))
    assert len({one["id"] for one in made}) == 1
    assert await product.list() == [MIA]


# --- the list --------------------------------------------------------------------------------------------------------


async def test_the_list_is_paged_newest_first_with_a_total(product: Product) -> None:
    emails = [f"r{number}@customer.example" for number in range(5)]
    for email in emails:
        await product.create(email)
    page = (await product.call("GET", "/requesters", limit=3, include="total")).json()
    rest = (await product.call("GET", "/requesters", limit=3, cursor=page["nextCursor"])).json()

    assert page["total"] == 5
    assert [one["email"] for one in (*page["items"], *rest["items"])] == emails[::-1]
    assert rest["nextCursor"] is None


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("mia", True), ("CHEN", True), ("che mi", True), (MIA, True), ("customer.example", True), ("zoe", False),
        ("mia zoe", False), ("???", False),
    ],
)  # fmt: skip
async def test_requesters_are_found_by_beginnings_of_words(product: Product, query: str, *, is_found: bool) -> None:
    await product.create(LEO, name="Leo Ek")
    await product.create(MIA, name="Mia Chén")
    assert (MIA in await product.list(q=query)) == is_found


async def test_requesters_of_another_organisation_do_not_exist(api: Api, database: Database, product: Product) -> None:
    other = Product(await create_desk(api, database))
    theirs, own = await other.create(MIA, externalId="c-1"), await product.create(LEO)
    assert await product.list() == [LEO]
    assert await product.list(email=MIA) == await product.list(externalId="c-1") == await product.list(q="mia") == []
    for answer in (
        await product.call("GET", f"/requesters/{theirs['id']}"),
        await product.change(theirs, name="Zoë"),
        await product.call("DELETE", f"/requesters/{theirs['id']}"),
        await product.merge(theirs, own),
        await product.merge(own, theirs),
    ):
        assert_problem(answer, 404, "requester_not_found")
    assert await other.read(theirs) == theirs


# --- change ----------------------------------------------------------------------------------------------------------


async def test_all_tickets_show_a_changed_requester(product: Product) -> None:
    requester = await product.create(MIA, name="Mia")
    ticket = await product.desk.open()

    changed = await product.change(requester, email=WORK, name="Mia Chen", locale="de", externalId="c-1")

    assert changed.status_code == 200, changed.text
    assert changed.json() == await product.read(requester)
    shown = (await product.desk.read(ticket))["requester"]
    assert (shown["id"], shown["email"], shown["name"]) == (requester["id"], WORK, "Mia Chen")
    assert await product.list(q="work") == [WORK]
    assert (await product.desk.open())["requester"]["id"] != requester["id"], "the former address is another person's"


async def test_null_removes_a_detail_and_a_missing_field_stays(product: Product) -> None:
    requester = await product.create(MIA, name="Mia", locale="de", externalId="c-1")
    cleared = (await product.change(requester, name=None, externalId=None)).json()
    assert cleared == requester | {"name": None, "externalId": None}
    assert "mia" in await read_words(product.desk), "of the address"


@pytest.mark.parametrize("fields", [{"email": LEO}, {"externalId": "c-2"}])
async def test_what_another_requester_has_is_refused(product: Product, fields: JSON) -> None:
    requester, _ = await product.create(MIA), await product.create(LEO, externalId="c-2")
    assert_problem(await product.change(requester, name="Zoë", **fields), 409, "requester_exists")
    assert await product.read(requester) == requester


async def test_the_address_of_an_account_is_changed_by_its_user_only(product: Product) -> None:
    user = await add_customer(product.desk, MIA)
    requester = await product.create(MIA)
    assert requester["userId"] == str(user.id)
    assert_problem(await product.change(requester, email=WORK), 409, "requester_has_account")
    assert (await product.change(requester, locale="de")).status_code == 200


async def test_a_requester_with_a_new_address_belongs_to_the_account_that_has_proved_it(product: Product) -> None:
    user = await add_customer(product.desk, WORK)
    requester, ticket = await product.create(MIA), await product.desk.open()
    changed = await product.change(requester, email=WORK)
    assert changed.json()["userId"] == str(user.id)
    assert await list_ticket_numbers(user) == [ticket["number"]]


async def test_only_users_who_may_change_requesters_can_send_their_details_with_a_ticket(product: Product) -> None:
    requester = await product.create(MIA, name="Mia", externalId="c-1")
    world = await create_world(product.desk)
    opener = await world.create_user(RoleKind.ENGINEER)
    body = {"title": "It broke", "description": "All of it.", "requester": {"email": WORK, "externalId": "c-1"}}
    denied = {"granted": [], "denied": [{"resource": "requesters", "update": True}]}
    assert (await product.desk.admin.put(f"/users/{opener.id}/permissions", denied)).status_code == 200

    assert_problem(await opener.post("/tickets", body), 403, "permission_required")

    assert await product.read(requester) == requester
    assert (await opener.post("/tickets", body | {"requester": {"email": MIA}})).status_code == 201
    assert (await product.desk.admin.post("/tickets", body)).json()["requester"]["email"] == WORK


# --- erase -----------------------------------------------------------------------------------------------------------


async def test_a_client_with_a_copy_of_the_ticket_learns_that_the_requester_is_erased(product: Product) -> None:
    ticket = await product.desk.open()
    read = await product.call("GET", f"/tickets/{ticket['id']}")
    admin = product.desk.admin
    path, copy = f"/tickets/{ticket['id']}", {"If-None-Match": read.headers["ETag"]} | admin.headers
    assert (await admin.http.get(path, headers=copy)).status_code == 304
    await product.call("DELETE", f"/requesters/{ticket['requester']['id']}")
    assert (await admin.http.get(path, headers=copy)).status_code == 200


async def test_a_client_with_a_copy_of_the_ticket_learns_of_a_change_of_the_requester(product: Product) -> None:
    ticket = await product.desk.open()
    admin = product.desk.admin
    path, copy = f"/tickets/{ticket['id']}", {"If-None-Match": '"1"'} | admin.headers
    assert (await admin.http.get(path, headers=copy)).status_code == 304
    await product.change(ticket["requester"], name="Mia Chen")
    read = await admin.http.get(path, headers=copy)
    assert (read.status_code, read.json()["requester"]["name"]) == (200, "Mia Chen")


async def test_details_that_are_null_are_not_known(product: Product) -> None:
    known = {"name": "Mia", "locale": "de", "externalId": "c-1"}
    made = await product.create(MIA, **known)
    assert await product.create(MIA, **dict.fromkeys(known)) == made
    ticket = await product.desk.open(requester={"email": MIA, **dict.fromkeys(known)})
    assert ticket["requester"]["name"] == "Mia"


async def test_an_erased_requester_is_gone_and_the_ticket_stays(product: Product) -> None:
    requester = await product.create(MIA, name="Mia Chen", externalId="c-1")
    ticket = await product.desk.open()

    erased = await product.call("DELETE", f"/requesters/{requester['id']}")

    assert (erased.status_code, erased.content) == (204, b"")
    assert_problem(await product.call("GET", f"/requesters/{requester['id']}"), 404, "requester_not_found")
    assert_problem(await product.call("DELETE", f"/requesters/{requester['id']}"), 404, "requester_not_found")
    shown = (await product.desk.read(ticket))["requester"]
    assert (shown["email"], shown["name"]) == (f"erased-{requester['id']}@erased.invalid", None)
    assert await product.list() == await product.list(q="mia") == await product.list(externalId="c-1") == []
    assert (await product.create(MIA, externalId="c-1"))["id"] != requester["id"]
