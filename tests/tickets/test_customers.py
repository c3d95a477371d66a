"""Customers open, find and change their own tickets, and do not find others."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from dirty_equals import IsStr

from app.access.user_permissions import RoleKind
from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.tickets.rows import read_event_numbers
from tests.tickets.test_other_organisations import CHANGES, READS, Operation, without_request_id
from tests.tickets.users import add_and_sign_in, add_customer, add_engineer, change_row, verify

TEXTS = {"title": "It broke", "description": "All of it."}
NOT_THEIRS: list[JSON] = [
    {"status": "CLOSED"},
    {"assigneeId": None},
    {"status": "OPEN", "title": "Another"},
    {"assigneeId": str(uuid4()), "priority": "LOW"},
]


@pytest.fixture
async def mia(desk: Desk) -> SignedInUser:
    return await add_customer(desk)


async def open_own(user: SignedInUser, **fields: object) -> JSON:
    answer = await user.post("/tickets", TEXTS | fields)
    assert answer.status_code == 201, answer.text
    ticket: JSON = answer.json()
    return ticket


async def list_ticket_numbers(user: SignedInUser, **params: Any) -> list[int]:
    answer = await user.get("/tickets", params=params)
    assert answer.status_code == 200, answer.text
    return [ticket["number"] for ticket in answer.json()["items"]]


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_a_customers_own_ticket_is_assigned_like_any_other(desk: Desk, mia: SignedInUser) -> None:
    answer = await mia.post("/tickets", TEXTS | {"priority": "HIGH"})

    ticket = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/tickets/{ticket['id']}"
    assert (ticket["requester"], ticket["priority"]) == (
        {"id": IsStr(), "email": mia.email, "name": "Mia Moreau", "userId": str(mia.id)},
        "HIGH",
    )
    assert ticket["assigneeId"] == str(desk.admin.id)
    created = (await desk.history(ticket))[0]
    assert (created["actor"]["type"], created["actor"]["id"]) == ("USER", str(mia.id))
    read = await mia.get(f"/tickets/{ticket['id']}")
    assert (read.status_code, read.json()) == (200, ticket | {"comments": []})


async def test_a_customer_can_name_only_themselves_as_the_requester(desk: Desk, mia: SignedInUser) -> None:
    leo = await add_customer(desk)
    events = await read_event_numbers(desk)

    for other in (leo.email, desk.admin.email, "nobody@customer.example"):
        answer = await mia.post("/tickets", TEXTS | {"requester": {"email": other}})
        assert read_invalid_fields(answer) == {"requester"}
    assert await read_event_numbers(desk) == events
    assert (await open_own(mia, requester={"email": f" {mia.email.upper()} "}))["requester"]["userId"] == str(mia.id)


async def test_a_customer_with_an_unverified_address_has_only_the_tickets_that_they_opened(desk: Desk) -> None:
    sly = await add_customer(desk, "mia@customer.example", verified=False)

    product_ticket = await desk.open(requester={"email": "mia@customer.example"})
    own = await open_own(sly)

    assert (product_ticket["requester"]["userId"], own["requester"]["userId"]) == (None, str(sly.id))
    assert await list_ticket_numbers(sly) == [own["number"]]
    assert_problem(await sly.get(f"/tickets/{product_ticket['id']}"), 404, "ticket_not_found")


async def test_a_ticket_opened_for_a_verified_address_belongs_to_its_account(desk: Desk, mia: SignedInUser) -> None:
    engineer = await add_engineer(desk)

    by_product = await desk.open(requester={"email": mia.email.upper()})
    by_engineer = await open_own(engineer, requester={"email": mia.email})
    by_admin = await open_own(desk.admin, requester={"email": mia.email})

    assert {t["requester"]["userId"] for t in (by_product, by_engineer, by_admin)} == {str(mia.id)}
    assert await list_ticket_numbers(mia) == [3, 2, 1]


async def test_staff_who_name_no_requester_open_a_ticket_of_their_own(desk: Desk) -> None:
    for user in (desk.admin, await add_engineer(desk)):
        for fields in ({}, {"requester": {"email": user.email}}):
            ticket = await open_own(user, **fields)
            assert (ticket["requester"]["email"], ticket["requester"]["userId"]) == (user.email, str(user.id))


@pytest.mark.parametrize("status", ["SUSPENDED", "PENDING", "REJECTED", "INVITED"])
async def test_an_inactive_account_gets_no_tickets(desk: Desk, mia: SignedInUser, status: str) -> None:
    await change_row(desk, mia, status=status)

    ticket = await desk.open(requester={"email": mia.email})

    assert (ticket["requester"]["email"], ticket["requester"]["userId"]) == (mia.email, None)


async def test_an_account_of_another_organisation_gets_no_tickets(desk: Desk, api: Api, database: Database) -> None:
    theirs = await add_customer(await create_desk(api, database), "mia@customer.example")

    assert (await desk.open(requester={"email": theirs.email}))["requester"]["userId"] is None


async def test_a_user_just_suspended_cannot_open_tickets(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    mia = await add_customer(desk)
    await open_own(mia)
    await change_row(desk, mia, status="SUSPENDED")

    assert_problem(await mia.post("/tickets", TEXTS), 401, "invalid_token")
    assert (await desk.open())["number"] == 2


async def test_a_ticket_has_the_current_address_of_its_requester(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    mia = await add_customer(desk)
    await open_own(mia)
    await verify(desk, mia, email="mia@elsewhere.example")

    assert (await open_own(mia))["requester"]["email"] == "mia@elsewhere.example"


# --- finding ---------------------------------------------------------------------------------------------------------


async def test_customers_list_and_count_only_their_own_tickets_with_any_filter(desk: Desk, mia: SignedInUser) -> None:
    leo = await add_customer(desk)
    for user in (mia, leo, mia, leo):
        await open_own(user)
    await desk.open()
    mine = {"items": 2, "total": 2}

    for params in (
        {}, {"status": "OPEN"}, {"adminEmail": desk.admin.email}, {"assignee": desk.admin.email}, {"sort": "createdAt"},
        {"assignee": str(desk.admin.id)}, {"requester": mia.email}, {"requester": [mia.email, leo.email]},
    ):  # fmt: skip
        listed = (await mia.get("/tickets", params=params | {"include": "total"})).json()
        assert {"items": len(listed["items"]), "total": listed["total"]} == mine, params
        assert {ticket["requester"]["userId"] for ticket in listed["items"]} == {str(mia.id)}
    for params in ({"requester": leo.email}, {"assignee": "none"}, {"assignee": "me"}):
        listed = (await mia.get("/tickets", params=params | {"include": "total"})).json()
        assert listed == {"items": [], "nextCursor": None, "total": 0}, params


async def test_pages_and_cursors_of_a_customer_are_only_theirs(desk: Desk, mia: SignedInUser) -> None:
    leo = await add_customer(desk)
    for user in (mia, leo) * 3:
        await open_own(user)

    first = (await mia.get("/tickets", params={"limit": 2})).json()
    second = (await mia.get("/tickets", params={"limit": 2, "cursor": first["nextCursor"]})).json()

    assert [ticket["number"] for ticket in first["items"] + second["items"]] == [5, 3, 1]
    assert second["nextCursor"] is None
    for other in (leo, desk.admin):
        answer = await other.get("/tickets", params={"limit": 2, "cursor": first["nextCursor"]})
        assert_problem(answer, 422, "invalid_cursor")


@pytest.mark.parametrize("operation", READS + CHANGES)
async def test_the_ticket_of_another_requester_is_not_found(
    desk: Desk, mia: SignedInUser, operation: Operation
) -> None:
    for_staff = operation.path_suffix in {"/change_status", "/accept"} or "assigneeId" in (operation.body or {})
    expected = (403, "not_for_customers") if for_staff else (404, "ticket_not_found")
    if operation.path_suffix == "/respond":
        expected = (403, "permission_required")
    leo = await add_customer(desk)
    unlinked, leos = await desk.open(), await open_own(leo)
    before, events = [await desk.read(ticket) for ticket in (unlinked, leos)], await read_event_numbers(desk)

    answers = [
        await mia.http.request(
            operation.method, f"/tickets/{ticket}{operation.path_suffix}", json=operation.body, headers=mia.headers
        )
        for ticket in (unlinked["id"], leos["id"], uuid4())
    ]

    for answer in answers:
        assert_problem(answer, *expected)
    assert without_request_id(answers[0]) == without_request_id(answers[1]) == without_request_id(answers[2])
    assert answers[0].headers.keys() == answers[1].headers.keys() == answers[2].headers.keys()
    assert [await desk.read(ticket) for ticket in (unlinked, leos)] == before
    assert await read_event_numbers(desk) == events


async def test_customers_read_the_history_and_the_schedule_of_their_tickets(desk: Desk, mia: SignedInUser) -> None:
    ticket = await open_own(mia)
    await desk.respond(ticket, "Fixed.")

    for path in ("", "/history", "/schedule"):
        theirs, staffs = [await user.get(f"/tickets/{ticket['id']}{path}") for user in (mia, desk.admin)]
        assert (theirs.status_code, theirs.json()) == (200, staffs.json())
        assert theirs.headers.get("etag") == staffs.headers.get("etag")
    assert (await mia.get(f"/tickets/{ticket['id']}")).json()["comments"][0]["message"] == "Fixed."


async def test_a_customer_with_a_new_address_keeps_their_tickets(desk: Desk, mia: SignedInUser) -> None:
    own, by_product = await open_own(mia), await desk.open(requester={"email": mia.email})
    await change_row(desk, mia, email="mia@elsewhere.example")

    assert await list_ticket_numbers(mia) == [by_product["number"], own["number"]]
    assert (await mia.patch(f"/tickets/{own['id']}", {"title": "Another"})).status_code == 200


# --- changing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_customers_change_title_description_and_priority(desk: Desk, mia: SignedInUser, method: str) -> None:
    ticket = await open_own(mia)
    wanted = {"title": "Another", "description": "A part of it.", "priority": "CRITICAL", "orgId": str(desk.id)}

    answer = await mia.http.request(method, f"/tickets/{ticket['id']}", json=wanted, headers=mia.headers)

    changed = answer.json()
    assert (answer.status_code, changed["version"]) == (200, 2)
    assert wanted.items() <= changed.items()
    last = (await desk.history(ticket))[-1]
    assert (last["type"], last["actor"]["id"]) == ("ticket.updated", str(mia.id))


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("body", NOT_THEIRS)
async def test_customers_change_neither_status_nor_assignee(
    desk: Desk, mia: SignedInUser, method: str, body: JSON
) -> None:
    ticket = await open_own(mia)
    events = await read_event_numbers(desk)

    answer = await mia.http.request(method, f"/tickets/{ticket['id']}", json=body, headers=mia.headers)

    document = assert_problem(answer, 403, "not_for_customers")
    assert "title, description and priority" in document["detail"]
    assert (await desk.read(ticket))["version"] == 1
    assert await read_event_numbers(desk) == events


async def test_customers_neither_reply_to_nor_close_nor_accept_their_own_tickets(desk: Desk, mia: SignedInUser) -> None:
    ticket = await open_own(mia)

    for path, body, code in (
        ("respond", {"message": "x"}, "permission_required"),
        ("change_status", {"status": "CLOSED"}, "not_for_customers"),
        ("accept", None, "not_for_customers"),
    ):
        answer = await mia.post(f"/tickets/{ticket['id']}/{path}", body)
        assert_problem(answer, 403, code)
    assert await desk.read(ticket) == ticket | {"comments": []}


async def test_a_customer_with_all_permissions_still_reaches_only_their_own_tickets(desk: Desk) -> None:
    powerful = await add_customer(
        desk, granted=["tickets:view", "tickets:create", "tickets:update", "tickets:delete", "comments:create"]
    )
    ticket = await desk.open()

    assert await list_ticket_numbers(powerful) == []
    assert_problem(await powerful.get(f"/tickets/{ticket['id']}"), 404, "ticket_not_found")
    assert_problem(await powerful.post(f"/tickets/{ticket['id']}/respond", {"message": "x"}), 403, "not_for_customers")
    assert_problem(await powerful.patch(f"/tickets/{ticket['id']}", {"title": "x"}), 404, "ticket_not_found")


async def test_customers_read_the_comments_on_their_tickets_unless_denied(desk: Desk) -> None:
    for denied, seen in ([], 1), (["comments:view"], 0):
        customer = await add_customer(desk, denied=denied)
        ticket = await open_own(customer)
        await desk.respond(ticket)
        read = (await customer.get(f"/tickets/{ticket['id']}")).json()
        assert (read["status"], len(read["comments"])) == ("RESPONDED", seen)


async def test_a_stale_version_is_also_refused_to_customers(desk: Desk, mia: SignedInUser) -> None:
    ticket = await open_own(mia)
    await desk.admin.patch(f"/tickets/{ticket['id']}", {"priority": "LOW"})

    answer = await mia.patch(f"/tickets/{ticket['id']}", {"title": "Another"}, **{"If-Match": '"1"'})

    assert_problem(answer, 412, "version_conflict")


@pytest.mark.parametrize("role", [RoleKind.ENGINEER, RoleKind.ADMIN])
async def test_staff_see_the_tickets_of_all_requesters(desk: Desk, mia: SignedInUser, role: RoleKind) -> None:
    colleague = await add_and_sign_in(desk, role)
    await open_own(mia)
    await desk.open()

    assert await list_ticket_numbers(colleague) == [2, 1]
