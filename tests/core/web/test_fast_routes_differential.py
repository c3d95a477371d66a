"""Fast routes and FastAPI's ordinary routes give the same responses to the same valid and invalid requests."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from itertools import product
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import orjson
import pytest
from asgi_lifespan import LifespanManager

from app.core.config import Settings
from app.core.fields import EXAMPLE_ID
from app.core.web.edge import Edge
from app.core.web.fast_routes import FastRoute, FastRoutes
from app.main import create_api
from tests.conftest import settings_for
from tests.core.web.bodies import HOSTILE_BODIES
from tests.organisation_client import Desk
from tests.postgres import TestServer

UNKNOWN_SECRET_KEY = "tsk_" + "0" * 48
VOLATILE = {"id", "number", "reference", "createdAt", "updatedAt"}
JSON_TYPE = "application/json"
EMAIL = "mia@customer.example"
TICKET = {"title": "It broke", "description": "All of it.", "requester": {"email": EMAIL}, "priority": "HIGH"}
# As the first clients send it.
OLD_TICKET = {"title": "It broke", "description": "All of it.", "addedBy": EMAIL, "priority": "HIGH"}

CONTENT_TYPES = [
    JSON_TYPE, "application/json; charset=utf-8", "APPLICATION/JSON", " application/json", "application/vnd.api+json",
    "application/x+json; q=1", "application/json, text/html", "application/json/x", "application/a/b+json",
    "application/jsonx", "application/+json", "text/json", "text/plain", "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded", ";", "", None,
]  # fmt: skip
QUERIES = [
    "", "colour=red", "colour=red&status=OPEN", "status=OPEN", "status=OPEN&status=CLOSED", "status=SHUT&status=OPEN",
    "status=", "limit=5", "limit=0", "limit=", "limit=1_0", "limit=+1", "limit=1.0", "limit=1&limit=2", "limit=%00",
    "limit=%ff", "cursor=", "cursor=x", "cursor=" + "A" * 1025, "sort=createdAt", "sort=-updatedAt", "sort=number",
    "limit=0&limit=x&colour=red&sort=number", "colour=red&limit=%ff",
    "include=total", "include=", "include=all", "unassigned=true",
    *(f"{name}={value}"
      for name in ("createdAfter", "createdBefore", "updatedAfter", "updatedBefore", "closedAfter", "closedBefore")
      for value in ("2026-03-02T09:30:00Z", "2026-03-02", "", "now")),
    "closedAfter=2026-03-02T09:30:00Z&closedBefore=2026-03-01T09:30:00Z", "closedAfter=now&closedAfter=now",
    "assignee=me", "assignee=none", "assignee=NONE", "assignee=" + EXAMPLE_ID, "assignee=ada@growfin.com",
    "assignee=ADA%40growfin.com", "assignee=x", "assignee=", "assignee=me&assignee=x", "assignee=me&assignee=none",
    "assignee=none&assignee=ada@growfin.com&assignee=" + EXAMPLE_ID, "assignee=" + "&assignee=".join(["none"] * 21),
    "adminEmail=ada@growfin.com", "adminEmail=x", "adminEmail=", "adminEmail=me", "adminEmail=none",
    "assignee=none&adminEmail=ada@growfin.com", "assignee=x&adminEmail=x",
    f"requester={EMAIL}", "requester=" + EXAMPLE_ID, "requester=me", "requester=", "requester=%ED%A0%80",
    f"requester={EMAIL}&requester={EXAMPLE_ID}", f"requester={EMAIL}&requester=x",
    f"customerEmail={EMAIL}", "customerEmail=nobody", "customerEmail=%ED%A0%80",
    f"requester={EMAIL}&customerEmail={EMAIL}", f"requester={EMAIL}&customerEmail=bob@customer.example",
    "q=broke", "q=", "q=%00",
    "q=" + "a+" * 60, "%00=1", "=", "=1", "&", "limit", "limit=5&limit_=6&status=SHUT", "Limit=5",
    "limit=5;status=OPEN", "status[]=OPEN", "status%5B%5D=OPEN", "secret=tsk_1", "q=a&q=b",
    "priority=LOW&priority=low", "priority=" + "&priority=".join(["LOW"] * 21),
]  # fmt: skip
IDS = [
    EXAMPLE_ID, EXAMPLE_ID.upper(), EXAMPLE_ID.replace("-", ""), f"%7B{EXAMPLE_ID}%7D", f"urn:uuid:{EXAMPLE_ID}", "1",
    "x", "%00", "%20", "%ff", "' OR 1=1", "9" * 500, "%F0%9F%92%A9", EXAMPLE_ID[:-1], f"{EXAMPLE_ID}%0A", "a%2Fb",
    "a/b", "",
]  # fmt: skip
BODIES: dict[str, object] = {
    "unknown field": {**TICKET, "colour": "red"},
    "unknown fields and a wrong one": {**TICKET, "colour": "red", "size": 1, "title": 5},
    "snake_case name": {**TICKET, "added_by": EMAIL},
    "names of the first clients": OLD_TICKET,
    "both names, same value": {**TICKET, "addedBy": EMAIL},
    "both names, in another case": {**TICKET, "addedBy": EMAIL.upper()},
    "both names, which differ": {**TICKET, "addedBy": "bob@customer.example"},
    "both names, the old one first": {**OLD_TICKET, "addedBy": "bob@customer.example", "requester": {"email": EMAIL}},
    "both names, the old one wrong": {**TICKET, "addedBy": "mia"},
    "both names, the new one wrong": {**OLD_TICKET, "requester": {"email": "mia"}},
    "no requester": {name: value for name, value in TICKET.items() if name != "requester"},
    "requester without an address": {**TICKET, "requester": {}},
    "requester with an unknown field": {**TICKET, "requester": {"email": EMAIL, "name": "Mia"}},
    "requester is null": {**TICKET, "requester": None},
    "requester is an address": {**TICKET, "requester": EMAIL},
    "address is null": {**TICKET, "requester": {"email": None}},
    "missing field": {name: value for name, value in TICKET.items() if name != "title"},
    "nothing in it": {},
    "null": {**TICKET, "title": None},
    "wrong types": {"title": 5, "description": ["x"], "requester": [], "addedBy": {}, "priority": True},
    "too long": {**TICKET, "title": "x" * 300},
    "empty": {**TICKET, "title": "  "},
    "no address": {**TICKET, "requester": {"email": "mia"}},
    "no address, under the old name": {**OLD_TICKET, "addedBy": "mia"},
    "unknown priority": {**TICKET, "priority": "URGENT"},
    "NUL": {**TICKET, "title": "a\0b"},
    "direction": {**TICKET, "title": "a\u202eb"},
    "byte order mark in it": {**TICKET, "title": "\ufeffIt broke"},
    "wrong secret": {**TICKET, "secret": UNKNOWN_SECRET_KEY},
    "secret of another type": {**TICKET, "secret": 5},
    "nested": {**TICKET, "title": {"title": {"title": "x"}}},
    "a list of tickets": [TICKET],
}
RAW_BODIES: dict[str, bytes] = {
    **HOSTILE_BODIES,
    **{name: orjson.dumps(body) for name, body in BODIES.items()},
    "byte order mark": b"\xef\xbb\xbf" + orjson.dumps(TICKET),
    "spaces around": b" \r\n" + orjson.dumps(TICKET) + b"\t ",
    "name twice": orjson.dumps(TICKET)[:-1] + b', "title": 5}',
    "name twice, the last one good": b'{"title": 5, ' + orjson.dumps(TICKET)[1:],
    "surrogate pair": orjson.dumps(TICKET)[:-1] + b', "title": "\\ud83d\\ude00"}',
    "trailing comma": orjson.dumps(TICKET)[:-1] + b",}",
    "trailing NUL": orjson.dumps(TICKET) + b"\0",
}


class RequestSpec(NamedTuple):
    """A request to be sent. It has no `Content-Type` if `content_type` is `None`."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes = b""
    content_type: str | None = None

    async def send(self, client: httpx.AsyncClient) -> tuple[int, list[tuple[str, str]], Any]:
        """Send the request; return status, headers and body, without the values that differ from ticket to ticket."""
        headers = {"X-Request-Id": "the-same", **self.headers}
        if self.content_type is not None:
            headers["Content-Type"] = self.content_type
        url = httpx.URL(f"http://tessera.test{self.path}")
        answer = await client.request(self.method, url, headers=headers, content=self.content)
        kept = sorted((name, value) for name, value in answer.headers.multi_items() if name != "date")
        if self.method != "POST" or not answer.is_success:
            return answer.status_code, kept, answer.content
        ticket = answer.json()
        kept = [(name, re.sub(ticket["id"], "{id}", value)) for name, value in kept if name != "content-length"]
        return answer.status_code, kept, {name: value for name, value in ticket.items() if name not in VOLATILE}


def credentials(desk: Desk) -> list[dict[str, str]]:
    token = desk.admin.headers["Authorization"]
    return [
        desk.admin.headers,
        {"X-Org-Secret": desk.secret},
        {"X-Org-Secret": desk.secret, "Authorization": token},
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": f"{token}x"},
        {"X-Org-Secret": UNKNOWN_SECRET_KEY},
        {"X-Org-Secret": ""},
        {"X-Org-Secret": UNKNOWN_SECRET_KEY, "Authorization": token},
    ]


def creations(desk: Desk) -> Iterator[RequestSpec]:
    by_secret = {"X-Org-Secret": desk.secret}
    for content in RAW_BODIES.values():
        yield RequestSpec("POST", "/tickets", by_secret, content, JSON_TYPE)
        yield RequestSpec("POST", "/tickets", desk.admin.headers, content, "text/plain")
    good, in_body = orjson.dumps(TICKET), orjson.dumps({**TICKET, "secret": desk.secret})
    for content, content_type in product((good, b"", b"[", b"null"), CONTENT_TYPES):
        yield RequestSpec("POST", "/tickets", by_secret, content, content_type)
    for headers, content in product(credentials(desk), (good, in_body, b"", b"[", b'{"title": 5}')):
        yield RequestSpec("POST", "/tickets", headers, content, JSON_TYPE)
    for query, content in product(("colour=red", "title=x", "%ff", "a=1&a=2&b=3"), (good, b'{"title": 5}', b"[", b"")):
        yield RequestSpec("POST", f"/tickets?{query}", by_secret, content, JSON_TYPE)
        yield RequestSpec("POST", f"/tickets?{query}", {}, content, JSON_TYPE)


def lists(desk: Desk) -> Iterator[RequestSpec]:
    for query in QUERIES:
        yield RequestSpec("GET", f"/tickets?{query}", desk.admin.headers)
    for headers, query in product(credentials(desk), ("", "limit=0", "colour=red", "assignee=me")):
        yield RequestSpec("GET", f"/tickets?{query}", headers)
    yield RequestSpec("GET", "/tickets", desk.admin.headers, b'{"limit": 5}', JSON_TYPE)


def reads(desk: Desk, ticket_id: str, reference: str) -> Iterator[RequestSpec]:
    for identifier in (ticket_id, ticket_id.upper(), str(uuid4()), *IDS):
        yield RequestSpec("GET", f"/tickets/{identifier}", desk.admin.headers)
    for headers, path in product(credentials(desk), (ticket_id, "x", str(uuid4()), f"{ticket_id}?colour=red")):
        yield RequestSpec("GET", f"/tickets/{path}", headers)
    for written in (reference, reference.lower(), f"{reference}0", "OTHER-1", f"{reference}x"):
        yield RequestSpec("GET", f"/tickets/{written}", desk.admin.headers)
    yield RequestSpec("GET", "/tickets/x?colour=red", desk.admin.headers)
    for tag in ('"1"', 'W/"1"', '"0", "1"', "*", '"2"', "", "1", '"', '"1" "2"'):
        yield RequestSpec("GET", f"/tickets/{ticket_id}", desk.admin.headers | {"If-None-Match": tag})
    yield RequestSpec("HEAD", f"/tickets/{ticket_id}", desk.admin.headers)
    yield RequestSpec("GET", f"/tickets/{ticket_id}", desk.admin.headers, b"[", JSON_TYPE)


class Twins(NamedTuple):
    """The same application twice: with `FastRoutes`, and with all routes served by FastAPI."""

    fast: httpx.AsyncClient
    ordinary: httpx.AsyncClient

    async def send_both_ways(self, requests: Iterator[RequestSpec]) -> list[int]:
        """Send all requests both ways and compare the responses; return their statuses."""
        statuses = []
        for request in requests:
            fast, ordinary = await request.send(self.fast), await request.send(self.ordinary)
            assert fast == ordinary, request
            statuses.append(fast[0])
        return statuses


@pytest.fixture(scope="module")
async def twins(server: TestServer) -> AsyncIterator[Twins]:
    settings = settings_for(server)
    app = create_api(settings)
    async with LifespanManager(app):
        fast = httpx.AsyncClient(transport=httpx.ASGITransport(Edge(FastRoutes(app), settings)))
        ordinary = httpx.AsyncClient(transport=httpx.ASGITransport(Edge(app, settings)))
        async with fast, ordinary:
            yield Twins(fast, ordinary)


def test_every_fast_route_is_compared() -> None:
    app = create_api(Settings.model_validate({"secret_key": None, "database_url": None}))
    routes = [route for route in app.routes if isinstance(route, FastRoute)]

    assert {route.operation_id for route in routes} == {"openTicket", "listTickets", "getTicket"}


async def test_opening_a_ticket_has_the_same_response_both_ways(twins: Twins, desk: Desk) -> None:
    statuses = await twins.send_both_ways(creations(desk))

    assert len(statuses) > 200
    assert set(statuses) == {201, 400, 401, 415, 422}


async def test_listing_tickets_has_the_same_response_both_ways(twins: Twins, desk: Desk) -> None:
    for _ in range(3):
        await desk.open()

    statuses = await twins.send_both_ways(lists(desk))

    assert len(statuses) > 100
    assert set(statuses) == {200, 401, 422}


async def test_getting_a_ticket_has_the_same_response_both_ways(twins: Twins, desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)

    statuses = await twins.send_both_ways(reads(desk, ticket["id"], ticket["reference"]))

    assert len(statuses) > 70
    assert set(statuses) >= {200, 401, 404, 422}
