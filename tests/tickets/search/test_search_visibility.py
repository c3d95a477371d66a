"""A search reveals no tickets and no replies that the caller cannot see."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from app.tickets.lists.queries import Listing, count_tickets, read_page
from app.tickets.search import service
from app.tickets.search.queries import Search
from app.tickets.search.rules import query
from tests.accounts.users_and_roles import add_user_with_permissions
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.tickets.rows import give_to_account, insert_many
from tests.tickets.search.searching import (
    SCANNED_TICKETS,
    flatten,
    list_pages,
    list_tickets,
    open_indexed,
    relay_events,
    search,
)
from tests.tickets.test_customers import open_own
from tests.tickets.users import add_customer, add_engineer, change_row

EMPTY_PAGE: JSON = {"items": [], "nextCursor": None, "total": 0}
SAME_PREFIX = "5ca1ab1e"  # the end of the organisation's id is the prefix of its lexemes


async def assert_finds_nothing(caller: Desk | SignedInUser, q: str) -> None:
    for sort in ("-createdAt", "createdAt", "-updatedAt", "updatedAt"):
        answer = await list_tickets(caller, q=q, sort=sort, include="total")
        assert (answer.status_code, answer.json()) == (200, EMPTY_PAGE), (q, sort)


# --- organisations ---------------------------------------------------------------------------------------------------


async def test_tickets_of_another_organisation_are_not_found(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)
    foreign = await open_indexed(other, title="Confidential merger")
    await other.respond(foreign, "Hush.")
    await relay_events(other)

    for q in ("confidential", "con", "merger", "hush", "mia@customer.example", "1"):
        assert await search(other, q) == [1]
        await assert_finds_nothing(desk, q)


@pytest.fixture(scope="module")
async def colliding(api: Api, database: Database) -> tuple[Desk, Desk]:
    """Two organisations with the same lexeme prefix, whose first tickets have the same id."""
    ticket_id, desks = uuid4(), []
    for title in ("Apple and pear", "Banana and pear"):
        org_id = UUID(f"{uuid4().hex[:-8]}{SAME_PREFIX}")
        desk = await create_desk(api, database, org_id=org_id)
        ids = await insert_many(desk, SCANNED_TICKETS + 20)
        async with database.session(org_id) as db:
            await db.execute(
                text("UPDATE tickets SET id = :id, title = :title WHERE org_id = :org AND number = 1"),
                {"id": ticket_id, "title": title, "org": org_id},
            )
        async with database.session(org_id) as db:
            await service.index(db, org_id, [ticket_id, *ids])
            await service.add_replies(db, org_id, {ticket_id: [f"{title.split()[0]} juice"]})
        desks.append(desk)
    return desks[0], desks[1]


@pytest.mark.parametrize(("place", "own", "other"), [(0, "apple", "banana"), (1, "banana", "apple")])
async def test_organisations_with_the_same_prefix_do_not_find_each_others_tickets(
    colliding: tuple[Desk, Desk], place: int, own: str, other: str
) -> None:
    desk = colliding[place]

    for sort in ("-createdAt", "createdAt"):  # ticket 1 is the last of the first order and the first of the second
        for q in (own, "pear", "juice", f"{own} juice", f"{own} pear juice", "#1"):
            assert await search(desk, q, sort=sort) == [1], q
        assert flatten(await list_pages(desk, q="one", limit=100, sort=sort)) == sorted(
            range(2, SCANNED_TICKETS + 21), reverse=sort.startswith("-")
        )
    for q in (other, f"{other} juice", f"{other} pear"):
        await assert_finds_nothing(desk, q)


async def test_a_customer_of_a_colliding_organisation_finds_only_their_tickets(
    colliding: tuple[Desk, Desk],
) -> None:
    for desk, own, other in zip(colliding, ("apple", "banana"), ("banana", "apple"), strict=True):
        customer = await add_customer(desk)
        await give_to_account(desk, customer.id, "number <= 2")

        assert await search(customer, own) == [1]
        assert await search(customer, "one") == [2]
        await assert_finds_nothing(customer, other)


async def test_a_query_of_another_organisation_finds_nothing(desk: Desk, api: Api, database: Database) -> None:
    """A query built for another organisation finds nothing, even if it is executed here."""
    other = await create_desk(api, database)
    await open_indexed(other, title="Confidential")
    search = Search(query=query(other.id, "confidential", "T"))

    async with database.driver(other.id) as driver:
        assert len(await read_page(driver, other.id, Listing(search=search), None, 21)) == 1
    for org_id in (desk.id, other.id):
        async with database.driver(desk.id) as driver:
            assert await read_page(driver, org_id, Listing(search=search), None, 21) == []
            assert await count_tickets(driver, org_id, Listing(search=search)) == 0


# --- customers -------------------------------------------------------------------------------------------------------


async def test_customers_find_only_their_tickets(desk: Desk) -> None:
    mia, leo = await add_customer(desk), await add_customer(desk)
    await open_own(mia, title="Mine is red")
    await open_own(leo, title="Mine is blue")
    await desk.open(title="The product's is red")
    await desk.respond(await open_own(leo, title="Another"), "It will be red.")
    await relay_events(desk)

    assert await search(desk, "red") == [4, 3, 1]
    assert (await search(mia, "red"), await search(leo, "red")) == ([1], [4])
    assert (await search(mia, "mine"), await search(leo, "mine")) == ([1], [2])
    for number in (2, 3, 4):
        await assert_finds_nothing(mia, f"#{number}")
    assert (await search(mia, "1"), await search(leo, "2")) == ([1], [2])
    await assert_finds_nothing(mia, "blue")
    await assert_finds_nothing(mia, leo.email)
    assert await search(mia, mia.email) == [1]


async def test_customers_page_through_their_matches(desk: Desk) -> None:
    mia, leo = await add_customer(desk), await add_customer(desk)
    for place in range(12):
        await open_own((mia, leo)[place % 2], title=("Red", "Blue")[place % 3 == 0])
    await relay_events(desk)

    assert await list_pages(mia, q="red", limit=2) == [[11, 9], [5, 3]]
    assert await list_pages(mia, q="red", limit=3, sort="createdAt") == [[3, 5, 9], [11]]
    assert await list_pages(leo, q="red", limit=10, sort="updatedAt") == [[2, 6, 8, 12]]
    cursor = (await list_tickets(mia, q="red", limit=1)).json()["nextCursor"]
    assert_problem(await list_tickets(leo, q="red", limit=1, cursor=cursor), 422, "invalid_cursor")


async def test_a_ticket_is_found_by_its_new_requester(desk: Desk) -> None:
    mia = await add_customer(desk)
    leo = await add_customer(desk)
    ticket = await open_own(mia, title="Red")
    await relay_events(desk)

    await give_to_account(desk, leo.id)

    assert await search(leo, "red") == [ticket["number"]]
    await assert_finds_nothing(mia, "red")


# --- the words of replies --------------------------------------------------------------------------------------------


@pytest.fixture
async def ticket_with_reply(desk: Desk) -> JSON:
    """A ticket with a reply, among many without."""
    ticket = await desk.open(title="Cannot export", description="It stops.")
    await desk.respond(ticket, "Reboot the flux capacitor.")
    await insert_many(desk, SCANNED_TICKETS)
    await relay_events(desk)
    return ticket


async def test_a_user_who_cannot_see_replies_cannot_search_them(desk: Desk, ticket_with_reply: JSON) -> None:
    without_replies = await add_user_with_permissions(desk, "tickets:view")
    with_replies = await add_user_with_permissions(desk, "tickets:view", "comments:view")
    assert (await without_replies.get(f"/tickets/{ticket_with_reply['id']}")).json()["comments"] == []

    for sort in ("-createdAt", "createdAt"):
        for q in ("capacitor", "reb", "the", "reboot cannot", "cannot capacitor"):
            assert await search(with_replies, q, sort=sort) == [1], q
        for q in ("cannot", "export stops", "it", "mia@customer.example", "#1"):
            assert await search(without_replies, q, sort=sort) == await search(with_replies, q, sort=sort) == [1], q
    for q in ("capacitor", "reb", "the", "reboot cannot", "cannot capacitor"):
        await assert_finds_nothing(without_replies, q)


async def test_a_cursor_depends_on_the_permission_to_see_replies(desk: Desk) -> None:
    for _ in range(2):
        await open_indexed(desk)
    with_replies, without_replies = (
        await add_user_with_permissions(desk, "tickets:view", "comments:view"),
        await add_user_with_permissions(desk, "tickets:view"),
    )
    cursor = (await list_tickets(with_replies, q="broke", limit=1)).json()["nextCursor"]

    assert (await list_tickets(desk, q="broke", limit=1, cursor=cursor)).status_code == 200
    assert_problem(await list_tickets(without_replies, q="broke", limit=1, cursor=cursor), 422, "invalid_cursor")


@pytest.mark.parametrize(("denied", "found_by_reply"), [([], [1]), (["comments:view"], [])])
async def test_customers_without_permission_for_replies_cannot_search_them(
    desk: Desk, denied: list[str], found_by_reply: list[int]
) -> None:
    mia = await add_customer(desk, denied=denied)
    await desk.respond(await open_own(mia, title="Cannot export"), "Reboot the flux capacitor.")
    await relay_events(desk)

    assert (await search(mia, "export"), await search(mia, "capacitor")) == ([1], found_by_reply)
    assert await search(mia, "export capacitor") == found_by_reply


# --- other callers ---------------------------------------------------------------------------------------------------


async def test_the_secret_key_finds_all_tickets(desk: Desk, ticket_with_reply: JSON) -> None:
    for q in ("export", "capacitor", "export capacitor", "#1"):
        answer = await desk.api.http.get("/tickets", params={"q": q}, headers={"X-Org-Secret": desk.secret})
        assert answer.status_code == 200
        assert [ticket["id"] for ticket in answer.json()["items"]] == [ticket_with_reply["id"]]


@pytest.mark.parametrize("role", [RoleKind.ADMIN, RoleKind.ENGINEER])
async def test_staff_find_tickets_of_all_requesters(desk: Desk, role: RoleKind) -> None:
    mia = await add_customer(desk)
    await open_own(mia, title="Red")
    await open_indexed(desk, title="Red")
    engineer = await add_engineer(desk)
    await change_row(desk, engineer, role_kind=role)

    assert await search(engineer, "red") == [2, 1]


async def test_searching_requires_the_permission_to_list(desk: Desk) -> None:
    await open_indexed(desk)

    assert_problem(
        await list_tickets(await add_user_with_permissions(desk, "comments:view"), q="broke"),
        403,
        "permission_required",
    )
    assert_problem(await desk.api.http.get("/tickets", params={"q": "broke"}), 401, "missing_credential")
