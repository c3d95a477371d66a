"""POST /tickets by products. Tickets that customers open are in test_customers.py."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from dirty_equals import IsStr

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.problems import assert_problem
from tests.tickets.rows import MOMENT, read_event_numbers

UUID_TEXT = IsStr(regex=r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
BODY: JSON = {"title": "It broke", "description": "All of it.", "requester": {"email": "mia@customer.example"}}


async def post(desk: Desk, body: JSON, secret: str | None = None, **headers: str) -> httpx.Response:
    if secret is not None:
        headers["X-Org-Secret"] = secret
    return await desk.api.http.post("/tickets", json=body, headers=headers)


async def test_opening_a_ticket_returns_it(desk: Desk) -> None:
    answer = await post(desk, BODY | {"priority": "HIGH"}, desk.secret)

    ticket = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/tickets/{ticket['id']}"
    assert answer.headers["etag"] == '"1"'
    assert ticket == {
        "id": UUID_TEXT,
        "number": 1,
        "reference": f"{desk.domain[:10].upper()}-1",
        "orgId": str(desk.id),
        "title": "It broke",
        "description": "All of it.",
        "status": "OPEN",
        "priority": "HIGH",
        "requester": {"id": IsStr(), "email": "mia@customer.example", "name": None, "userId": None},
        "assigneeId": str(desk.admin.id),
        "assignee": {"id": str(desk.admin.id), "email": desk.admin.email, "firstName": "Ada", "lastName": "Lovelace"},
        "createdAt": IsStr(regex=MOMENT),
        "updatedAt": ticket["createdAt"],
        "respondedAt": None,
        "closedAt": None,
        "autoCloseAt": None,
        "acceptedAt": None,
        "version": 1,
        "addedBy": "mia@customer.example",
        "adminId": str(desk.admin.id),
    }


async def test_pasted_line_breaks_are_unified(desk: Desk) -> None:
    pasted = {"title": "\ufeffIt\rbroke\r\n", "description": "\ufeffAll\r\nof\x0bit.\x0c"}
    ticket = (await post(desk, BODY | pasted, desk.secret)).json()

    assert (ticket["title"], ticket["description"]) == ("It broke", "All\nof\nit.")


async def test_a_character_that_is_not_allowed_is_named_with_its_position(desk: Desk) -> None:
    sent = {"title": "txt.\u202eexe", "description": "All\x1b of it."}
    answer = await post(desk, BODY | sent, desk.secret)

    assert assert_problem(answer, 422, "invalid_input")["errors"] == [
        {"field": "title", "message": "The direction override U+202E at position 5 is not allowed: remove it."},
        {"field": "description", "message": "The control character U+001B at position 4 is not allowed: remove it."},
    ]


async def test_without_available_users_the_ticket_has_no_assignee(desk: Desk) -> None:
    await desk.admin.patch("/me", {"available": False})

    ticket = await desk.open()

    assert (ticket["assigneeId"], ticket["assignee"]) == (None, None)


async def test_the_secret_key_may_come_in_the_header_the_body_or_both(desk: Desk) -> None:
    in_header = await post(desk, BODY, desk.secret)
    in_body = await post(desk, BODY | {"secret": desk.secret})
    in_both = await post(desk, BODY | {"secret": desk.secret}, desk.secret)

    assert [answer.status_code for answer in (in_header, in_body, in_both)] == [201, 201, 201]
    assert [answer.json()["number"] for answer in (in_header, in_body, in_both)] == [1, 2, 3]


async def test_two_different_secret_keys_are_refused(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)

    answer = await post(desk, BODY | {"secret": other.secret}, desk.secret)

    assert (answer.status_code, answer.json()["code"]) == (401, "secret_key_mismatch")


@pytest.mark.parametrize(
    ("secret", "code"),
    [(None, "missing_credential"), ("tsk_nonsense", "invalid_secret_key"), ("", "invalid_secret_key")],
)
async def test_opening_requires_a_valid_secret_key(desk: Desk, secret: str | None, code: str) -> None:
    answer = await post(desk, BODY, secret)

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"]


async def test_an_access_token_is_accepted_but_not_as_a_secret_key(desk: Desk) -> None:
    by_admin = await desk.admin.post("/tickets", BODY)
    token = desk.admin.headers["Authorization"].removeprefix("Bearer ")
    as_secret = await post(desk, BODY, token)

    assert (by_admin.status_code, by_admin.json()["requester"]["email"]) == (201, BODY["requester"]["email"])
    assert (as_secret.status_code, as_secret.json()["code"]) == (401, "invalid_secret_key")


async def test_the_secret_key_takes_precedence_over_the_access_token(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)

    for headers, body in (({"X-Org-Secret": desk.secret}, BODY), ({}, BODY | {"secret": desk.secret})):
        answer = await other.admin.post("/tickets", body, **headers)
        assert (answer.status_code, answer.json()["orgId"]) == (201, str(desk.id))
        assert (await desk.history(answer.json()))[0]["actor"]["type"] == "ORGANISATION"


async def test_the_priority_is_medium_by_default(desk: Desk) -> None:
    assert (await desk.open())["priority"] == "MEDIUM"
    for priority in ("LOW", "MEDIUM", "HIGH", "CRITICAL"):
        assert (await desk.open(priority=priority))["priority"] == priority


async def test_texts_are_trimmed_and_addresses_lowered(desk: Desk) -> None:
    ticket = await desk.open(
        title="  It broke ", description="\nTwo\r\nlines\t\n", requester={"email": " Mia@Customer.EXAMPLE "}
    )

    assert (ticket["title"], ticket["description"]) == ("It broke", "Two\nlines")
    assert ticket["requester"]["email"] == "mia@customer.example"


async def test_the_longest_texts_are_stored_whole(desk: Desk) -> None:
    ticket = await desk.open(title="ä" * 255, description="😀" * 20_000)

    assert (len(ticket["title"]), len(ticket["description"])) == (255, 20_000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", None),
        ("title", ""),
        ("title", "   "),
        ("title", "x" * 256),
        ("title", 5),
        ("title", "a\x00b"),
        ("title", "a\x1bb"),
        ("description", None),
        ("description", " \n "),
        ("description", "x" * 20_001),
        ("requester", None),
        ("requester", "mia@customer.example"),
        ("requester.email", {"email": None}),
        ("requester.email", {"email": "nobody"}),
        ("requester.email", {"email": "mia@customer.example\nBcc: all@customer.example"}),
        ("requester.email", {"email": "a@b@customer.example"}),
        ("requester.email", {}),
        ("requester.userId", {"email": "mia@customer.example", "userId": None}),
        ("addedBy", None),
        ("addedBy", "nobody"),
        ("priority", "high"),
        ("priority", "URGENT"),
        ("priority", None),
        ("status", "CLOSED"),
        ("number", 7),
        ("assigneeId", None),
        ("orgId", None),
    ],
)
async def test_an_invalid_field_is_reported_and_nothing_is_written(desk: Desk, field: str, value: Any) -> None:
    events = await read_event_numbers(desk)
    answer = await post(desk, BODY | {field.partition(".")[0]: value}, desk.secret)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await read_event_numbers(desk) == events
    assert (await desk.open())["number"] == 1


@pytest.mark.parametrize("field", ["title", "description", "requester"])
async def test_a_missing_field_is_named(desk: Desk, field: str) -> None:
    answer = await post(desk, {name: value for name, value in BODY.items() if name != field}, desk.secret)

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": field, "message": "This is required."}]


async def test_each_organisation_counts_its_own_tickets(desk: Desk, api: Api, database: Database) -> None:
    other = await create_desk(api, database)

    numbers = [(await which.open())["number"] for which in (desk, other, desk, other, desk)]

    assert numbers == [1, 1, 2, 2, 3]


async def test_the_history_begins_with_the_opening_and_the_assignment(desk: Desk) -> None:
    created, assigned = await desk.history(await desk.open(priority="LOW"))

    assert (created["type"], assigned["type"]) == ("ticket.created", "ticket.assigned")
    assert created["actor"] == {"type": "ORGANISATION", "id": str(desk.id)}
    assert created["data"] == {"number": 1, "status": "OPEN", "priority": "LOW"}
    assert assigned["actor"] == {"type": "SYSTEM"}
    assert assigned["data"] == {"assigneeId": str(desk.admin.id), "previousAssigneeId": None}
