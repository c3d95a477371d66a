"""The OpenAPI document: whole, true, and tried out as it stands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import jsonschema_rs
import pytest
from asgi_lifespan import LifespanManager

from app.core.config import Settings
from app.core.db import Database
from app.core.docs import example_of
from app.main import create_api, create_app
from tests.conftest import copy_database, settings_for
from tests.desks import JSON, Api, Desk, a_desk
from tests.postgres import TestServer

SECRET, JWT = "organisationSecret", "jwt"
PUBLIC: list[set[str]] = []
PROBLEM = "application/problem+json"

# The contract: every operation, the credentials of which any one will do, and the status of its success.
CONTRACT: dict[tuple[str, str], tuple[list[set[str]], int]] = {
    ("POST", "/auth/org/signup"): (PUBLIC, 201),
    ("GET", "/org"): ([{SECRET}, {JWT}], 200),
    ("PATCH", "/org"): ([{JWT}], 200),
    ("POST", "/org/clock/advance"): ([{SECRET}, {JWT}], 200),
    ("POST", "/auth/admin/signup"): ([{SECRET}, set()], 201),  # or the secret in the body
    ("POST", "/auth/admin/signin"): (PUBLIC, 200),
    ("GET", "/me"): ([{JWT}], 200),
    ("PATCH", "/me"): ([{JWT}], 200),
    ("POST", "/tickets"): ([{SECRET}, set()], 201),  # or the secret in the body
    ("GET", "/tickets"): ([{SECRET}, {JWT}], 200),
    ("GET", "/tickets/{id}"): ([{SECRET}, {JWT}], 200),
    ("PATCH", "/tickets/{id}"): ([{JWT}], 200),
    ("POST", "/tickets/{id}"): ([{JWT}], 200),
    ("POST", "/tickets/{id}/change_status"): ([{JWT}], 200),
    ("POST", "/tickets/{id}/respond"): ([{JWT}], 201),
    ("GET", "/tickets/{id}/history"): ([{SECRET}, {JWT}], 200),
    ("GET", "/tickets/{id}/schedule"): ([{SECRET}, {JWT}], 200),
    ("GET", "/notifications"): ([{JWT}], 200),
    ("GET", "/notifications/{id}"): ([{JWT}], 200),
    ("GET", "/jobs"): ([{JWT}], 200),
    ("GET", "/health/live"): (PUBLIC, 200),
    ("GET", "/health/ready"): (PUBLIC, 200),
    ("GET", "/metrics"): (PUBLIC, 200),
}


class Operation(NamedTuple):
    """One of the document's operations."""

    method: str
    path: str
    said: JSON

    @property
    def body(self) -> JSON | None:
        content: JSON | None = self.said.get("requestBody", {}).get("content")
        return content

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path


DOCUMENT: JSON = create_api(Settings.model_validate({"secret_key": None, "database_url": None})).openapi()
SCHEMAS: JSON = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    Operation(method.upper(), path, said) for path, item in DOCUMENT["paths"].items() for method, said in item.items()
]
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{o.method} {o.path}" for o in OPERATIONS])


def mistakes(value: object, schema: JSON) -> list[str]:
    """What a JSON schema of the document finds wrong with a value."""
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": {"schemas": SCHEMAS}}, validate_formats=True
    )
    return [str(error) for error in validator.iter_errors(value)]


def examples(media: JSON) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    return [one["value"] for one in media.get("examples", {}).values()]


# --- whole -----------------------------------------------------------------------------------------------------------


def test_the_operations_are_those_of_the_contract() -> None:
    assert {operation.key for operation in OPERATIONS} == set(CONTRACT)


def test_operations_and_tags_are_told_apart() -> None:
    ids = [operation.said["operationId"] for operation in OPERATIONS]
    used = {tag for operation in OPERATIONS for tag in operation.said["tags"]}

    assert len(set(ids)) == len(ids)
    assert used == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


def test_the_document_reads_in_the_order_of_its_tags() -> None:
    places = [tag["name"] for tag in DOCUMENT["tags"]]
    order = [places.index(operation.said["tags"][0]) for operation in OPERATIONS]

    assert order == sorted(order)
    assert OPERATIONS[0].said["operationId"] == "signUpOrganisation"


@EACH
def test_an_operation_says_what_it_is(operation: Operation) -> None:
    said = operation.said

    assert said["summary"]
    assert said["summary"] != said["description"]
    assert len(said["description"]) > 20
    assert said["operationId"].isalnum()
    assert len(said["tags"]) == 1


@EACH
def test_an_operation_has_the_example_of_a_request_that_its_schema_accepts(operation: Operation) -> None:
    if operation.method == "GET":
        assert operation.body is None
        return
    assert operation.body is not None
    media = operation.body["application/json"]

    assert examples(media)
    for example in examples(media):
        assert mistakes(example, media["schema"]) == []
        assert "…" not in json.dumps(example, ensure_ascii=False), "a field needs an example of its own"


@EACH
def test_an_operation_has_the_example_of_a_good_answer_that_its_schema_accepts(operation: Operation) -> None:
    good = {status: answer for status, answer in operation.said["responses"].items() if status.startswith("2")}

    assert list(good) == [str(CONTRACT[operation.key][1])]
    for answer in good.values():
        assert answer["description"]
        for media in answer["content"].values():
            assert examples(media)
            for example in examples(media):
                assert mistakes(example, media["schema"]) == []
                assert "…" not in json.dumps(example, ensure_ascii=False), "a field needs an example of its own"


@EACH
def test_an_error_is_a_problem_document_with_an_example_of_each_code(operation: Operation) -> None:
    bad = {status: answer for status, answer in operation.said["responses"].items() if status >= "4"}

    assert {"422", "500", "503"} <= set(bad)
    for status, answer in bad.items():
        (media_type,) = answer["content"]
        assert media_type == PROBLEM
        shown = answer["content"][PROBLEM]["examples"]
        assert shown
        for code, example in shown.items():
            assert example["value"]["code"] == code
            assert example["value"]["status"] == int(status)
            assert f"`{code}`" in answer["description"]
            assert mistakes(example["value"], {"$ref": "#/components/schemas/Problem"}) == []


@EACH
def test_an_operation_says_which_credentials_it_takes(operation: Operation) -> None:
    wanted, _ = CONTRACT[operation.key]

    assert [set(one) for one in operation.said.get("security", [])] == wanted
    assert ("401" in operation.said["responses"]) == (wanted != PUBLIC or "signin" in operation.path)


@EACH
def test_headers_of_answers_are_described(operation: Operation) -> None:
    said = {status: set(answer.get("headers", {})) for status, answer in operation.said["responses"].items()}

    assert said["503"] == {"Retry-After"}
    assert said.get("401", {"WWW-Authenticate"}) == {"WWW-Authenticate"}
    assert said.get("429", {"Retry-After", "RateLimit", "RateLimit-Policy"}) > {"Retry-After"}
    assert "Location" in said.get("201", {"Location"})


def test_both_credentials_are_declared() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert (schemes[SECRET]["type"], schemes[SECRET]["in"], schemes[SECRET]["name"]) == (
        "apiKey", "header", "X-Org-Secret",
    )  # fmt: skip
    assert (schemes[JWT]["type"], schemes[JWT]["scheme"]) == ("http", "bearer")


def test_every_reference_leads_somewhere_and_every_schema_is_referred_to() -> None:
    referred = set(references(DOCUMENT))

    assert referred == {f"#/components/schemas/{name}" for name in SCHEMAS}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


# --- how examples are made -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["Ada", "Bo"]}, "Ada"),
        ({"const": "total"}, "total"),
        ({"enum": ["LOW", "HIGH"], "default": "HIGH"}, "HIGH"),
        ({"enum": ["LOW", "HIGH"]}, "LOW"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "examples": ["x"]}, "x"),
        ({"anyOf": [{"$ref": "#/components/schemas/Health"}, {"type": "null"}]}, {"status": "ok"}),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "string"}, "…"),
        ({}, {}),
    ],
)
def test_an_example_is_made_of_what_a_schema_says(schema: JSON, example: object) -> None:
    assert example_of(schema, SCHEMAS, whole=True) == example


def test_the_example_of_a_request_leaves_out_what_is_optional_and_has_none() -> None:
    schema = {
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer", "default": 0},
            "c": {"type": "integer", "default": 0, "examples": [30]},
        },
        "required": ["a"],
    }

    assert example_of(schema, {}, whole=False) == {"a": 1, "c": 30}
    assert example_of(schema, {}, whole=True) == {"a": 1, "b": 0, "c": 30}


# --- true ------------------------------------------------------------------------------------------------------------


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
