"""Every refusal of an operation is documented: its status, its code, its headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from app.access.user_permissions import RoleKind
from tests.access.requests import REQUESTS
from tests.access.table import STATUSES
from tests.access.world import World, create_world
from tests.docs.openapi import (
    FORM,
    JSON_MEDIA,
    JWT,
    OPERATIONS,
    PROBLEM,
    PUBLIC,
    Operation,
    each_operation,
    find_schema_errors,
    list_examples,
)
from tests.organisation_client import JSON, Desk

JSON_TYPE = {"Content-Type": JSON_MEDIA}
UNKNOWN_SECRET_KEY = "tsk_" + "0" * 48


class Refused(NamedTuple):
    """The response to a bad request, and what is wrong with the request."""

    because: str
    answer: httpx.Response


class Requests:
    """Requests about an existing resource, by default with both credentials and the documented example."""

    def __init__(self, world: World, operation: Operation, path: str) -> None:
        self.world, self.operation = world, operation
        self.path, _, self.query = path.partition("?")
        self.both = {"X-Org-Secret": world.desk.secret, **world.desk.admin.headers}

    async def send(self, because: str, path: str | None = None, query: str = "", **changes: Any) -> Refused:
        arguments: JSON = {"headers": self.both, **self.example()} | changes
        headers = arguments["headers"] | {"X-Request-Id": because.replace(" ", "-")}
        address = f"{path or self.path}?{query or self.query}"
        http = self.world.desk.api.http
        answer = await http.request(self.operation.method, address, **{**arguments, "headers": headers})
        return Refused(because, answer)

    def example(self) -> JSON:
        if self.operation.body is None:
            return {}
        ((media_type, media),) = self.operation.body.items()
        example = list_examples(media)[0]
        return {"files": {"file": ("me.png", b"no image")}} if media_type == FORM else {"json": example}


async def send_bad_requests(requests: Requests) -> AsyncIterator[Refused]:
    """Send the common kinds of bad requests; yield their responses."""
    operation = requests.operation
    yield await requests.send("unknown parameter", query="colour=red")
    yield await requests.send("long address", query=f"{'a' * 9000}=1")
    yield await requests.send("large headers", headers=requests.both | {"X-Large": "x" * 40_000})
    if operation.credentials != PUBLIC:
        async for refused in send_with_wrong_credentials(requests):
            yield refused
    if "{id}" in operation.path:
        yield await requests.send("unknown id", operation.path.replace("{id}", str(uuid4())))
        yield await requests.send("no id", operation.path.replace("{id}", "seven"))
    if "{provider}" in operation.path:
        yield await requests.send("unknown provider", operation.path.replace("{provider}", "unknown"))
    if operation.body is not None:
        async for refused in send_bad_bodies(requests):
            yield refused
    if any(parameter["name"].lower() == "if-match" for parameter in operation.definition.get("parameters", [])):
        yield await requests.send("stale version", headers=requests.both | {"If-Match": '"0"'})
        yield await requests.send("no version", headers=requests.both | {"If-Match": "seven"})


async def send_with_wrong_credentials(requests: Requests) -> AsyncIterator[Refused]:
    yield await requests.send("no credential", headers={})
    yield await requests.send("bad token", headers={"Authorization": "Bearer no", "X-Org-Secret": "no"})
    yield await requests.send("bad secret", headers={"X-Org-Secret": UNKNOWN_SECRET_KEY})
    for column in ("product", "revoked", "CUSTOMER", "auditor", "foreign_admin"):
        if STATUSES[requests.operation.id][column] >= 400:
            caller = await requests.world.create_caller(column)
            yield await requests.send(column, headers=requests.world.headers(column, caller))


async def send_bad_bodies(requests: Requests) -> AsyncIterator[Refused]:
    operation, json_headers = requests.operation, requests.both | JSON_TYPE
    no_body: JSON = {"json": None, "files": None}
    if operation.definition["requestBody"].get("required"):
        yield await requests.send("nothing", **no_body)
    for because, content in (
        ("broken JSON", b'{"title": '),
        ("NUL", b'{"title": "\0"}'),
        ("no UTF-8", b'{"title": "\xff"}'),
    ):
        yield await requests.send(because, **no_body, content=content, headers=json_headers)
    as_text = requests.both | {"Content-Type": "text/plain"}
    yield await requests.send("no JSON", **no_body, content=b"a=b", headers=as_text)
    yield await requests.send("large body", **no_body, content=b"x" * 7_000_000, headers=json_headers)
    example = requests.example()
    if "files" in example:
        yield await requests.send("unknown field", files={"colour": ("red", b"red")})
        yield await requests.send("large file", files={"file": ("me.png", b"x" * 5_300_000)})
        return
    yield await requests.send("no object", json=[example["json"]])
    yield await requests.send("unknown field", json={**example["json"], "colour": "red"})
    yield await requests.send("two secrets", json={**example["json"], "secret": UNKNOWN_SECRET_KEY})


@pytest.fixture
async def world(desk: Desk) -> World:
    return await create_world(desk)


@each_operation
async def test_every_refusal_is_documented(operation: Operation, world: World) -> None:
    request = await REQUESTS[operation.id](world, world.desk.admin)
    async for because, answer in send_bad_requests(Requests(world, operation, request.path)):
        assert answer.is_client_error, because
        assert answer.headers["content-type"] == PROBLEM, because
        problem, definition = answer.json(), operation.definition["responses"]
        assert operation.documents(answer.status_code, problem["code"]), f"{because}: {answer.text}"
        assert find_schema_errors(problem, {"$ref": "#/components/schemas/Problem"}) == [], because
        headers = definition[str(answer.status_code)].get("headers", {})
        assert {name.lower() for name in headers} <= set(answer.headers), because


async def test_the_refusal_of_users_without_a_mandatory_second_factor_is_documented(world: World) -> None:
    answer = await world.desk.admin.patch("/org", {"require2fa": True})
    assert answer.status_code == 200
    refusing, documented = set(), set()
    for operation in OPERATIONS:
        if {JWT} not in operation.credentials:
            continue
        if operation.documents(403, "second_factor_required"):
            documented.add(operation.id)
        admin = await world.create_user(RoleKind.ADMIN)
        path = operation.path.replace("{id}", str(uuid4()))
        example = Requests(world, operation, path).example()
        answer = await world.desk.api.http.request(operation.method, path, headers=admin.headers, **example)
        if answer.status_code == 403 and answer.json()["code"] == "second_factor_required":
            refusing.add(operation.id)

    assert refusing == documented
    assert documented
