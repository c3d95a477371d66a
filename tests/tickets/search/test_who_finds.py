"""Whose tickets a search finds, and by which of their words: nobody sees through it what they may not see."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.access.permissions import RoleKind
from app.core.database.pool import Database
from app.tickets import queries
from app.tickets.queries import Listing
from app.tickets.search import service
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.accounts.crew import with_only
from tests.desks import JSON, Api, Desk, SignedInUser, a_desk
from tests.problems import refused
from tests.tickets.rows import insert_many
from tests.tickets.search.finding import LOOKED_AT, ask, flat, found, opened, pages, relayed
from tests.tickets.test_customers import open_own
from tests.tickets.users import a_customer, an_engineer, change_row

NOTHING: JSON = {"items": [], "nextCursor": None, "total": 0}


async def finds_nothing(seeker: Desk | SignedInUser, q: str) -> None:
    for sort in ("-createdAt", "createdAt", "-updatedAt", "updatedAt"):
        answer = await ask(seeker, q=q, sort=sort, include="total")
        assert (answer.status_code, answer.json()) == (200, NOTHING), (q, sort)


# --- organisations ---------------------------------------------------------------------------------------------------


async def test_another_organisations_tickets_are_not_found(desk: Desk, api: Api, database: Database) -> None:
    other = await a_desk(api, database)
    theirs = await opened(other, title="Confidential merger")
    await other.respond(theirs, "Hush.")
    await relayed(other)

    for q in ("confidential", "con", "merger", "hush", "mia@customer.example", "1"):
        assert await found(other, q) == [1]
        await finds_nothing(desk, q)


@pytest.fixture(scope="module")
async def twins(api: Api, database: Database) -> tuple[Desk, Desk]:
    """Two organisations whose words have the same prefix; and each has a ticket with the same id, first of many."""
    ticket_id, desks = uuid4(), []
    for title in ("Apple and pear", "Banana and pear"):
        org_id = UUID(f"{uuid4().hex[:-8]}5ca1ab1e")
        desk = await a_desk(api, database, org_id=org_id)
        ids = await insert_many(desk, LOOKED_AT + 20)
        async with database.session(org_id) as db:
            await db.execute(
                text("UPDATE tickets SET id = :id, title = :title WHERE org_id = :org AND number = 1"),
                {"id": ticket_id, "title": title, "org": org_id},
            )
        async with database.session(org_id) as db:
            await service.index(db, org_id, [ticket_id, *ids])
            await service.add_answers(db, org_id, {ticket_id: [f"{title.split()[0]} juice"]})
        desks.append(desk)
    return desks[0], desks[1]


@pytest.mark.parametrize(("place", "own", "others"), [(0, "apple", "banana"), (1, "banana", "apple")])
async def test_words_with_the_same_prefix_are_still_each_organisations_own(
    twins: tuple[Desk, Desk], place: int, own: str, others: str
) -> None:
    desk = twins[place]

    for sort in ("-createdAt", "createdAt"):  # it is the last one, and the first
        for q in (own, "pear", "juice", f"{own} juice", f"{own} pear juice", "#1"):
            assert await found(desk, q, sort=sort) == [1], q
        assert flat(await pages(desk, q="one", limit=100, sort=sort)) == sorted(
            range(2, LOOKED_AT + 21), reverse=sort.startswith("-")
        )
    for q in (others, f"{others} juice", f"{others} pear"):
        await finds_nothing(desk, q)


async def test_a_customer_among_twins_finds_their_own_words_only(twins: tuple[Desk, Desk], database: Database) -> None:
    for desk, own, others in zip(twins, ("apple", "banana"), ("banana", "apple"), strict=True):
        customer = await a_customer(desk)
        async with database.session(desk.id) as db:
            await db.execute(
                text("UPDATE tickets SET requester_id = :id WHERE org_id = :org AND number <= 2"),
                {"id": customer.id, "org": desk.id},
            )

        assert await found(customer, own) == [1]
        assert await found(customer, "one") == [2]
        await finds_nothing(customer, others)


async def test_what_a_query_of_another_organisation_asks_for_is_not_there(
    desk: Desk, api: Api, database: Database
) -> None:
    """Not even where their query gets here."""
    other = await a_desk(api, database)
    await opened(other, title="Confidential")
    search = Search(query=query(other.id, "confidential", "T"))

    async with database.driver(other.id) as driver:
        assert len(await queries.page(driver, other.id, Listing(search=search), None, 21)) == 1
    for org_id in (desk.id, other.id):
        async with database.driver(desk.id) as driver:
            assert await queries.page(driver, org_id, Listing(search=search), None, 21) == []
            assert await queries.total(driver, org_id, Listing(search=search)) == 0


# --- customers -------------------------------------------------------------------------------------------------------


async def test_customers_find_their_own_tickets_only(desk: Desk) -> None:
    mia, leo = await a_customer(desk), await a_customer(desk)
    await open_own(mia, title="Mine is red")
    await open_own(leo, title="Mine is blue")
    await desk.open(title="Nobody's is red")
    await desk.respond(await open_own(leo, title="Another"), "It will be red.")
    await relayed(desk)

    assert await found(desk, "red") == [4, 3, 1]
    assert (await found(mia, "red"), await found(leo, "red")) == ([1], [4])
    assert (await found(mia, "mine"), await found(leo, "mine")) == ([1], [2])
    for number in (2, 3, 4):
        await finds_nothing(mia, f"#{number}")
    assert (await found(mia, "1"), await found(leo, "2")) == ([1], [2])
    await finds_nothing(mia, "blue")
    await finds_nothing(mia, leo.email)
    assert await found(mia, mia.email) == [1]


async def test_customers_go_through_what_they_find_page_by_page(desk: Desk) -> None:
    mia, leo = await a_customer(desk), await a_customer(desk)
    for place in range(12):
        await open_own((mia, leo)[place % 2], title=("Red", "Blue")[place % 3 == 0])
    await relayed(desk)

    assert await pages(mia, q="red", limit=2) == [[11, 9], [5, 3]]
    assert await pages(mia, q="red", limit=3, sort="createdAt") == [[3, 5, 9], [11]]
    assert await pages(leo, q="red", limit=10, sort="updatedAt") == [[2, 6, 8, 12]]
    cursor = (await ask(mia, q="red", limit=1)).json()["nextCursor"]
    refused(await ask(leo, q="red", limit=1, cursor=cursor), 422, "invalid_cursor")


async def test_what_becomes_somebodys_is_found_by_them(desk: Desk) -> None:
    mia = await a_customer(desk)
    leo = await a_customer(desk)
    ticket = await open_own(mia, title="Red")
    await relayed(desk)

    async with desk.database.session(desk.id) as db:
        await db.execute(
            text("UPDATE tickets SET requester_id = :leo WHERE org_id = :org"), {"leo": leo.id, "org": desk.id}
        )

    assert await found(leo, "red") == [ticket["number"]]
    await finds_nothing(mia, "red")


# --- the words of answers --------------------------------------------------------------------------------------------


@pytest.fixture
async def answered(desk: Desk) -> JSON:
    """A ticket with an answer to it, among many others without one."""
    ticket = await desk.open(title="Cannot export", description="It stops.")
    await desk.respond(ticket, "Reboot the flux capacitor.")
    await insert_many(desk, LOOKED_AT)
    await relayed(desk)
    return ticket


async def test_who_does_not_see_responses_does_not_find_by_their_words(desk: Desk, answered: JSON) -> None:
    blind = await with_only(desk, "tickets:view")
    seeing = await with_only(desk, "tickets:view", "comments:view")
    assert (await blind.get(f"/tickets/{answered['id']}")).json()["responses"] == []

    for sort in ("-createdAt", "createdAt"):
        for q in ("capacitor", "reb", "the", "reboot cannot", "cannot capacitor"):
            assert await found(seeing, q, sort=sort) == [1], q
        for q in ("cannot", "export stops", "it", "mia@customer.example", "#1"):
            assert await found(blind, q, sort=sort) == await found(seeing, q, sort=sort) == [1], q
    for q in ("capacitor", "reb", "the", "reboot cannot", "cannot capacitor"):
        await finds_nothing(blind, q)


async def test_a_cursor_of_somebody_who_sees_responses_is_not_for_who_does_not(desk: Desk) -> None:
    for _ in range(2):
        await opened(desk)
    seeing, blind = await with_only(desk, "tickets:view", "comments:view"), await with_only(desk, "tickets:view")
    cursor = (await ask(seeing, q="broke", limit=1)).json()["nextCursor"]

    assert (await ask(desk, q="broke", limit=1, cursor=cursor)).status_code == 200
    refused(await ask(blind, q="broke", limit=1, cursor=cursor), 422, "invalid_cursor")


@pytest.mark.parametrize(("denied", "by_answer"), [([], [1]), (["comments:view"], [])])
async def test_customers_who_are_denied_the_responses_find_by_their_own_words_only(
    desk: Desk, denied: list[str], by_answer: list[int]
) -> None:
    mia = await a_customer(desk, denied=denied)
    await desk.respond(await open_own(mia, title="Cannot export"), "Reboot the flux capacitor.")
    await relayed(desk)

    assert (await found(mia, "export"), await found(mia, "capacitor")) == ([1], by_answer)
    assert await found(mia, "export capacitor") == by_answer


# --- everybody else --------------------------------------------------------------------------------------------------


async def test_the_product_finds_all_with_the_secret(desk: Desk, answered: JSON) -> None:
    for q in ("export", "capacitor", "export capacitor", "#1"):
        answer = await desk.api.http.get("/tickets", params={"q": q}, headers={"X-Org-Secret": desk.secret})
        assert answer.status_code == 200
        assert [ticket["id"] for ticket in answer.json()["items"]] == [answered["id"]]


@pytest.mark.parametrize("role", [RoleKind.ADMIN, RoleKind.ENGINEER])
async def test_staff_find_everybodys(desk: Desk, role: RoleKind) -> None:
    mia = await a_customer(desk)
    await open_own(mia, title="Red")
    await opened(desk, title="Red")
    engineer = await an_engineer(desk)
    await change_row(desk, engineer, role=role)

    assert await found(engineer, "red") == [2, 1]


async def test_who_may_not_list_does_not_search(desk: Desk) -> None:
    await opened(desk)

    refused(await ask(await with_only(desk, "comments:view"), q="broke"), 403, "permission_required")
    refused(await desk.api.http.get("/tickets", params={"q": "broke"}), 401, "missing_credential")
