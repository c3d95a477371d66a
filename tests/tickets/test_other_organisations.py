"""Tickets of other organisations are not found, and the secret key cannot do what requires a user."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.database.pool import Database
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.tickets.rows import read_event_numbers


class Operation(NamedTuple):
    """A request about a ticket."""

    method: str
    path_suffix: str
    body: JSON | None = None


CHANGES = [
    Operation("POST", "/change_status", {"status": "CLOSED"}),
    Operation("POST", "/respond", {"message": "Fixed."}),
    Operation("POST", "/accept"),
    Operation("POST", "", {"title": "Another"}),
    Operation("PATCH", "", {"title": "Another"}),
    Operation("PATCH", "", {"assigneeId": None}),
    Operation("PATCH", "", {}),
]
READS = [Operation("GET", ""), Operation("GET", "/history"), Operation("GET", "/schedule")]


@pytest.fixture
async def other(api: Api, database: Database) -> Desk:
    """Another organisation."""
    return await create_desk(api, database)


async def call(desk: Desk, operation: Operation, ticket_id: UUID | str, headers: dict[str, str]) -> httpx.Response:
    path = f"/tickets/{ticket_id}{operation.path_suffix}"
    return await desk.api.http.request(operation.method, path, json=operation.body, headers=headers)


def without_request_id(answer: httpx.Response) -> JSON:
    return {name: value for name, value in answer.json().items() if name != "requestId"}


@pytest.mark.parametrize("operation", CHANGES + READS)
async def test_a_ticket_of_another_organisation_is_not_found(desk: Desk, other: Desk, operation: Operation) -> None:
    ticket = await desk.open()
    before, events = await desk.read(ticket), await read_event_numbers(desk)

    theirs = await call(other, operation, ticket["id"], other.admin.headers)
    unknown = await call(other, operation, uuid4(), other.admin.headers)

    assert (theirs.status_code, theirs.json()["code"]) == (404, "ticket_not_found")
    assert without_request_id(theirs) == without_request_id(unknown)
    assert theirs.headers.keys() == unknown.headers.keys()
    assert await desk.read(ticket) == before
    assert await read_event_numbers(desk) == events


@pytest.mark.parametrize("operation", READS)
async def test_the_secret_key_of_another_organisation_reads_nothing(
    desk: Desk, other: Desk, operation: Operation
) -> None:
    ticket, secret = await desk.open(), {"X-Org-Secret": other.secret}

    theirs = await call(other, operation, ticket["id"], secret)
    unknown = await call(other, operation, uuid4(), secret)

    assert theirs.status_code == 404
    assert without_request_id(theirs) == without_request_id(unknown)


async def test_lists_contain_only_the_organisations_own_tickets(desk: Desk, other: Desk) -> None:
    ours, _ = await desk.open(), await other.open()

    listed = (await desk.admin.get("/tickets", params={"include": "total"})).json()

    assert [ticket["id"] for ticket in listed["items"]] == [ours["id"]]
    assert listed["total"] == 1


@pytest.mark.parametrize("operation", CHANGES)
async def test_the_secret_key_cannot_do_what_requires_a_user(desk: Desk, operation: Operation) -> None:
    ticket = await desk.open()
    before = await desk.read(ticket)

    answer = await call(desk, operation, ticket["id"], {"X-Org-Secret": desk.secret})

    assert (answer.status_code, answer.json()["code"]) == (403, "access_token_required")
    assert await desk.read(ticket) == before


@pytest.mark.parametrize("operation", CHANGES + READS)
async def test_every_operation_requires_a_credential(desk: Desk, operation: Operation) -> None:
    answer = await call(desk, operation, (await desk.open())["id"], {})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_credential")
    assert answer.headers["www-authenticate"]
