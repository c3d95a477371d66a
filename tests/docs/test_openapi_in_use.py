"""The OpenAPI document, tried out as it stands: what it says is what the service does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
from asgi_lifespan import LifespanManager

from app.core.db import Database
from app.main import create_app
from tests.conftest import copy_database, settings_for
from tests.desks import JSON, Api, Desk, a_desk
from tests.docs.openapi import (
    CONTRACT,
    DOCUMENT,
    EACH,
    OPERATIONS,
    PROBLEM,
    PUBLIC,
    SCHEMAS,
    Operation,
    examples,
    mistakes,
)
from tests.postgres import TestServer


@pytest.fixture(scope="module")
async def own(server: TestServer) -> AsyncIterator[httpx.AsyncClient]:
    """The service on a database where nobody has signed up yet."""
    name = f"openapi_{uuid4().hex[:8]}"
    await copy_database(server, name)
    async with LifespanManager(create_app(settings_for(server.at(name)))) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield client


async def test_every_operation_works_with_its_example_as_it_stands(own: httpx.AsyncClient) -> None:
    """A tour in the order that the description gives, with both credentials from when they are known."""
    headers: dict[str, str] = {}
    ids: dict[str, str] = {}
    tour = [
        "signUpOrganisation", "signUpAdmin", "signInAdmin", "getMe", "changeMe", "getOrganisation",
        "changeOrganisation", "openTicket", "listTickets", "getTicket", "changeTicketStatus", "respondToTicket",
        "changeTicket", "changeTicketByPost", "getTicketHistory", "getTicketSchedule", "advanceClock",
        "listNotifications", "getNotification", "getJobs", "isLive", "isReady", "getMetrics",
    ]  # fmt: skip
    operations = {operation.said["operationId"]: operation for operation in OPERATIONS}
    assert set(tour) == set(operations)

    for operation_id in tour:
        operation = operations[operation_id]
        body = examples(operation.body["application/json"])[0] if operation.body else None
        path = operation.path.replace("{id}", ids.get(operation.path.split("/")[1], ""))
        answer = await own.request(operation.method, path, json=body, headers=headers)

        status = CONTRACT[operation.key][1]
        assert answer.status_code == status, f"{operation_id}: {answer.text}"
        said = operation.said["responses"][str(status)]
        (media_type,) = said["content"]
        assert answer.headers["content-type"].startswith(media_type)
        assert {name.lower() for name in said.get("headers", {})} <= set(answer.headers)
        if media_type == "application/json":
            assert mistakes(answer.json(), said["content"][media_type]["schema"]) == []
        match operation_id:
            case "signUpOrganisation":
                headers["X-Org-Secret"] = answer.json()["secret"]
            case "signInAdmin":
                headers["Authorization"] = f"Bearer {answer.json()['jwt']}"
            case "openTicket":
                ids["tickets"] = answer.json()["id"]
                assert answer.json()["adminId"]
            case "listNotifications":
                ids["notifications"] = answer.json()["items"][0]["id"]


async def test_an_answer_has_the_fields_of_its_schema_and_no_others(desk: Desk) -> None:
    ticket = await desk.open()
    await desk.respond(ticket)
    for path, template in (
        (f"/tickets/{ticket['id']}", "/tickets/{id}"),
        (f"/tickets/{ticket['id']}/history", "/tickets/{id}/history"),
        (f"/tickets/{ticket['id']}/schedule", "/tickets/{id}/schedule"),
        ("/tickets?include=total", "/tickets"),
        ("/org", "/org"),
        ("/me", "/me"),
        ("/jobs", "/jobs"),
    ):
        media = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]
        closed = {name: {**schema, "additionalProperties": False} for name, schema in SCHEMAS.items()}
        validator = jsonschema_rs.Draft202012Validator({**media["schema"], "components": {"schemas": closed}})

        assert [str(error) for error in validator.iter_errors((await desk.admin.get(path)).json())] == [], path


class Refused(NamedTuple):
    """A request that an operation refuses, as it is answered."""

    because: str
    operation: Operation
    answer: httpx.Response


async def refusals(desk: Desk, operation: Operation) -> AsyncIterator[Refused]:
    """The common ways to get an operation wrong."""
    http, ticket = desk.api.http, await desk.open()
    path = operation.path.replace("{id}", ticket["id"])
    both = {"X-Org-Secret": desk.secret, **desk.admin.headers}
    body = examples(operation.body["application/json"])[0] if operation.body else None

    async def send(because: str, where: str = path, **changes: Any) -> Refused:
        arguments: JSON = {"headers": both, "json": body} | changes
        headers = arguments["headers"] | {"X-Request-Id": because.replace(" ", "-")}
        answer = await http.request(operation.method, where, **{**arguments, "headers": headers})
        return Refused(because, operation, answer)

    yield await send("unknown parameter", f"{path}?colour=red")
    yield await send("long address", f"{path}?{'a' * 9000}=1")
    yield await send("large headers", headers=both | {"X-Large": "x" * 40_000})
    if CONTRACT[operation.key][0] != PUBLIC:
        yield await send("no credential", headers={})
        yield await send("bad token", headers={"Authorization": "Bearer no", "X-Org-Secret": "no"})
        yield await send("bad secret", headers={"X-Org-Secret": "tsk_" + "0" * 48})
    if "{id}" in operation.path:
        yield await send("unknown id", operation.path.replace("{id}", str(uuid4())))
        yield await send("no id", operation.path.replace("{id}", "seven"))
    if operation.body is not None:
        yield await send("broken JSON", json=None, content=b'{"title": ', headers=both | JSON_TYPE)
        yield await send("NUL", json=None, content=b'{"title": "\0"}', headers=both | JSON_TYPE)
        yield await send("no UTF-8", json=None, content=b'{"title": "\xff"}', headers=both | JSON_TYPE)
        yield await send("no JSON", json=None, content=b"a=b", headers=both | {"Content-Type": "text/plain"})
        yield await send("no object", json=[body])
        yield await send("unknown field", json={**(body or {}), "colour": "red"})
        yield await send("nothing", json=None)
        yield await send("large body", json={"title": "x" * 2_000_000})
        yield await send("two secrets", json={**(body or {}), "secret": "tsk_" + "0" * 48})
    if any(parameter["name"].lower() == "if-match" for parameter in operation.said.get("parameters", [])):
        yield await send("stale version", headers=both | {"If-Match": '"0"'})
        yield await send("no version", headers=both | {"If-Match": "seven"})


JSON_TYPE = {"Content-Type": "application/json"}


@EACH
async def test_whatever_an_operation_refuses_with_is_documented(operation: Operation, desk: Desk) -> None:
    async for because, _, answer in refusals(desk, operation):
        status, said = str(answer.status_code), operation.said["responses"]
        problem = answer.json()

        assert answer.is_client_error, because
        assert answer.headers["content-type"] == PROBLEM, because
        assert status in said, f"{because}: {answer.text}"
        assert problem["code"] in said[status]["content"][PROBLEM]["examples"], f"{because}: {answer.text}"
        assert mistakes(problem, {"$ref": "#/components/schemas/Problem"}) == [], because
        assert {name.lower() for name in said[status].get("headers", {})} <= set(answer.headers), because


async def test_conflicts_are_documented(api: Api, database: Database) -> None:
    desk = await a_desk(api, database, sandbox=False)
    ticket = await desk.open()
    await desk.admin.post(f"/tickets/{ticket['id']}/change_status", {"status": "CLOSED"})
    admin = {"firstName": "A", "lastName": "B", "email": desk.admin.email, "password": "cobalt-heron-47-lamp"}
    organisation = {"name": "Growfin", "domain": desk.domain}
    secret = {"X-Org-Secret": desk.secret}
    answers = {
        "/auth/org/signup": await api.http.post("/auth/org/signup", json=organisation),
        "/auth/admin/signup": await api.http.post("/auth/admin/signup", json=admin, headers=secret),
        "/org/clock/advance": await desk.admin.post("/org/clock/advance", {"days": 1}),
        "/tickets/{id}/respond": await desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": "Hello"}),
    }

    for path, answer in answers.items():
        said = DOCUMENT["paths"][path]["post"]["responses"][str(answer.status_code)]
        assert answer.status_code in {403, 409}, answer.text
        assert answer.json()["code"] in said["content"][PROBLEM]["examples"]
