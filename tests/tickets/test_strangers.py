"""Other organisations' tickets do not exist, and the secret does not do what is for people."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from app.core.db import Database
from tests.desks import JSON, Api, Desk, a_desk
from tests.tickets.rows import sequence

CHANGES = [
    ("POST", "/change_status", {"status": "CLOSED"}),
    ("POST", "/respond", {"message": "Mended."}),
    ("POST", "", {"title": "Another"}),
    ("PATCH", "", {"title": "Another"}),
    ("PATCH", "", {"adminId": None}),
    ("PATCH", "", {}),
]
READS = [("GET", "", None), ("GET", "/history", None), ("GET", "/schedule", None)]


@pytest.fixture
async def stranger(api: Api, database: Database) -> Desk:
    """Another organisation."""
    return await a_desk(api, database)


async def call(
    desk: Desk, method: str, ticket_id: UUID | str, rest: str, body: JSON | None, headers: dict[str, str]
) -> httpx.Response:
    return await desk.api.http.request(method, f"/tickets/{ticket_id}{rest}", json=body, headers=headers)


def without_request_id(answer: httpx.Response) -> JSON:
    return {name: value for name, value in answer.json().items() if name != "requestId"}


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES + READS)
async def test_another_organisations_ticket_is_as_unknown_as_one_that_does_not_exist(
    desk: Desk, stranger: Desk, method: str, rest: str, body: JSON | None
) -> None:
    ticket = await desk.open()
    before, events = await desk.read(ticket), await sequence(desk)

    theirs = await call(stranger, method, ticket["id"], rest, body, stranger.admin.headers)
    unknown = await call(stranger, method, uuid4(), rest, body, stranger.admin.headers)

    assert (theirs.status_code, theirs.json()["code"]) == (404, "ticket_not_found")
    assert without_request_id(theirs) == without_request_id(unknown)
    assert theirs.headers.keys() == unknown.headers.keys()
    assert await desk.read(ticket) == before
    assert await sequence(desk) == events


@pytest.mark.parametrize(("method", "rest", "body"), READS)
async def test_another_organisations_secret_reads_nothing(
    desk: Desk, stranger: Desk, method: str, rest: str, body: JSON | None
) -> None:
    ticket, secret = await desk.open(), {"X-Org-Secret": stranger.secret}

    theirs = await call(stranger, method, ticket["id"], rest, body, secret)
    unknown = await call(stranger, method, uuid4(), rest, body, secret)

    assert theirs.status_code == 404
    assert without_request_id(theirs) == without_request_id(unknown)


async def test_lists_hold_the_organisations_own_tickets(desk: Desk, stranger: Desk) -> None:
    ours, _ = await desk.open(), await stranger.open()

    listed = (await desk.admin.get("/tickets", params={"include": "total"})).json()

    assert [ticket["id"] for ticket in listed["items"]] == [ours["id"]]
    assert listed["total"] == 1


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES)
async def test_the_secret_does_nothing_that_is_for_people(
    desk: Desk, method: str, rest: str, body: JSON | None
) -> None:
    ticket = await desk.open()
    before = await desk.read(ticket)

    answer = await call(desk, method, ticket["id"], rest, body, {"X-Org-Secret": desk.secret})

    assert answer.status_code == 401
    assert answer.json()["code"] == "missing_credential"
    assert await desk.read(ticket) == before


@pytest.mark.parametrize(("method", "rest", "body"), CHANGES + READS)
async def test_without_a_credential_nothing_is_told(
    desk: Desk, method: str, rest: str, body: JSON | None
) -> None:
    answer = await call(desk, method, (await desk.open())["id"], rest, body, {})

    assert (answer.status_code, answer.json()["code"]) == (401, "missing_credential")
    assert answer.headers["www-authenticate"]
