"""The OpenAPI document is complete, and its schemas accept its examples."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core.web.openapi_examples import make_example
from tests.access.table import COLUMNS, STATUSES
from tests.docs.openapi import (
    BY_ID,
    CONTRACT,
    DOCUMENT,
    FORM,
    JSON_MEDIA,
    JWT,
    OPERATIONS,
    PROBLEM,
    PUBLIC,
    SCHEMAS,
    SECRET,
    USER,
    USER_OR_TOKEN,
    Operation,
    each_operation,
    find_schema_errors,
    list_examples,
)
from tests.organisation_client import JSON

ROOT = Path(__file__).parents[2]
# Operations with effects whose only input is their path.
WITHOUT_BODY = {
    "signOutEverywhere", "setUpSecondFactor", "approveUser", "resendInvitation", "acceptTicket",
}  # fmt: skip
WITH_OPTIONAL_BODY = {"rejectUser", "signOut"}
KINDS = ["Admin", "Engineer", "Customer"]
REQUEST_TYPES = {"setPicture": FORM}  # all others: JSON
RESPONSE_TYPES = {"getPicture": "image/webp", "getMetrics": "text/plain"}  # all others: JSON
LIMIT_HEADERS = {"RateLimit", "RateLimit-Policy"}
WITHOUT_CONTENT = {"204", "302", "304", "307"}
# Public operations that can respond with 401, because their body contains credentials.
CREDENTIALS_IN_BODY = {
    "signIn", "signInAdmin", "signInEngineer", "signInCustomer", "refreshSession", "exchangeSocialSignIn",
    "finishSocialSignIn",
}  # fmt: skip
# Operations that need a provider, which the settings of the tests do not have.
PROVIDER_OPERATIONS = {"startSocialSignIn", "finishSocialSignIn"}

# --- the whole document ----------------------------------------------------------------------------------------------


def test_the_operations_are_those_of_the_contract() -> None:
    assert {operation.key for operation in OPERATIONS} == set(CONTRACT)


def test_operations_and_tags_have_unique_names() -> None:
    ids = [operation.definition["operationId"] for operation in OPERATIONS]
    used = {tag for operation in OPERATIONS for tag in operation.definition["tags"]}

    assert len(set(ids)) == len(ids)
    assert used == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


def test_operations_are_in_the_order_of_the_tags() -> None:
    places = [tag["name"] for tag in DOCUMENT["tags"]]
    order = [places.index(operation.definition["tags"][0]) for operation in OPERATIONS]

    assert order == sorted(order)
    assert OPERATIONS[0].definition["operationId"] == "openTicket"


@each_operation
def test_an_operation_has_a_summary_a_description_and_a_tag(operation: Operation) -> None:
    definition = operation.definition

    assert definition["summary"]
    assert definition["summary"] != definition["description"]
    assert len(definition["description"]) > 20
    assert definition["operationId"].isalnum()
    assert len(definition["tags"]) == 1


@each_operation
def test_the_example_of_a_request_is_valid(operation: Operation) -> None:
    if operation.method in {"GET", "DELETE"} or operation.id in WITHOUT_BODY:
        assert "requestBody" not in operation.definition
        return
    assert operation.body is not None
    assert list(operation.body) == [REQUEST_TYPES.get(operation.id, JSON_MEDIA)]
    assert operation.definition["requestBody"].get("required", False) == (operation.id not in WITH_OPTIONAL_BODY)
    for media in operation.body.values():
        assert list_examples(media)
        assert_valid(list_examples(media), media["schema"])


@each_operation
def test_the_example_of_a_good_response_is_valid(operation: Operation) -> None:
    good = {status: answer for status, answer in operation.definition["responses"].items() if status < "4"}

    assert set(good) == {str(status) for status in operation.success_statuses}
    for status, answer in good.items():
        assert answer["description"]
        content = answer.get("content", {})
        assert list(content) == ([] if status in WITHOUT_CONTENT else [RESPONSE_TYPES.get(operation.id, JSON_MEDIA)])
        for media in content.values():
            assert list_examples(media)
            assert_valid(list_examples(media), media["schema"])


@each_operation
def test_the_example_of_a_response_repeats_the_request(operation: Operation) -> None:
    answers = [answer for status, answer in operation.definition["responses"].items() if status.startswith("2")]
    sent = [one for media in (operation.body or {}).values() for one in list_examples(media) if isinstance(one, dict)]
    got = [one for answer in answers for media in answer.get("content", {}).values() for one in list_examples(media)]
    for request in sent:
        for answer in got:
            plain = {name for name, value in request.items() if not isinstance(value, (dict, list)) and name in answer}
            assert {name: answer[name] for name in plain} == {name: request[name] for name in plain}


def test_examples_show_the_effect_of_an_operation() -> None:
    def shown(operation_id: str) -> JSON:
        answer = next(
            one for status, one in BY_ID[operation_id].definition["responses"].items() if status.startswith("2")
        )
        (example,) = list_examples(answer["content"][JSON_MEDIA])
        return dict(example)

    assert [shown(f"signIn{kind}")["user"]["role"].title() for kind in KINDS] == KINDS
    assert (shown("signUp")["role"], shown("signUp")["emailVerified"]) == ("CUSTOMER", False)
    assert (shown("inviteUser")["status"], shown("rejectUser")["status"]) == ("INVITED", "REJECTED")
    assert shown("inviteUser")["invitationExpiresAt"] > shown("inviteUser")["createdAt"]
    assert (shown("acceptTicket")["status"], shown("acceptTicket")["acceptedAt"] is None) == ("IN_PROGRESS", False)
    permissions = shown("setUserPermissions")
    assert not [one for one in permissions["granted"] if one in permissions["denied"]]
    assert "x-example-overrides" not in json.dumps(DOCUMENT)


@each_operation
def test_path_parameters_have_an_example_and_all_examples_are_valid(operation: Operation) -> None:
    parameters = operation.definition.get("parameters", [])
    in_path = [parameter for parameter in parameters if parameter["in"] == "path"]

    assert {f"{{{parameter['name']}}}" for parameter in in_path} == set(re.findall(r"\{.*?\}", operation.path))
    assert all("example" in parameter for parameter in in_path)
    for parameter in parameters:
        shown = [parameter["example"]] if "example" in parameter else parameter["schema"].get("examples", [])
        assert_valid(shown, parameter["schema"])


def assert_valid(shown: list[Any], schema: JSON) -> None:
    for example in shown:
        assert find_schema_errors(example, schema) == []
        assert "…" not in json.dumps(example, ensure_ascii=False), "a field needs an example of its own"


@each_operation
def test_an_error_is_a_problem_document_with_an_example_of_each_code(operation: Operation) -> None:
    bad = {status: answer for status, answer in operation.definition["responses"].items() if status >= "4"}

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
            assert find_schema_errors(example["value"], {"$ref": "#/components/schemas/Problem"}) == []


@each_operation
def test_an_operation_declares_its_credentials(operation: Operation) -> None:
    is_public = operation.credentials == PUBLIC

    assert [set(one) for one in operation.definition["security"]] == operation.credentials
    assert ("401" in operation.definition["responses"]) == (not is_public or operation.id in CREDENTIALS_IN_BODY)
    assert operation.documents(401, "missing_credential") == (not is_public)
    assert operation.documents(403, "access_token_required") == (operation.credentials in (USER, USER_OR_TOKEN))
    assert operation.documents(403, "permission_required") == (":" in operation.definition["x-permission"])


@each_operation
def test_the_contract_agrees_with_the_access_table(operation: Operation) -> None:
    statuses, is_public = STATUSES[operation.id], operation.credentials == PUBLIC
    good = 404 if operation.id in PROVIDER_OPERATIONS else operation.success_statuses[0]

    assert (statuses["anonymous"] == 401) == (not is_public)
    assert (statuses["product"] == good) == (is_public or {SECRET} in operation.credentials)
    assert (statuses["ADMIN"] == good) == (is_public or {JWT} in operation.credentials)
    assert all(statuses[column] in {good, 401, 403, 404} for column in COLUMNS)


@each_operation
def test_headers_of_responses_are_described(operation: Operation) -> None:
    definition = {
        status: set(answer.get("headers", {})) for status, answer in operation.definition["responses"].items()
    }

    is_limited = "429" in definition
    assert all((headers >= LIMIT_HEADERS) is is_limited for headers in definition.values())
    definition = {status: headers - LIMIT_HEADERS for status, headers in definition.items()}
    assert definition["503"] == {"Retry-After"}
    assert definition.get("401", {"WWW-Authenticate"}) == {"WWW-Authenticate"}
    assert definition.get("429", {"Retry-After"}) == {"Retry-After"}
    assert "Location" in definition.get("201", {"Location"})
    assert definition.get("302", {"Location"}) == {"Location"}
    assert definition.get("307", {"Location"}) == {"Location"}
    assert "ETag" in definition.get("304", {"ETag"})
    for status in definition:
        for header in operation.definition["responses"][status].get("headers", {}).values():
            assert_valid([header["example"]], header["schema"])


def test_every_process_makes_the_same_document() -> None:
    program = "import json; from tests.docs.openapi import DOCUMENT; print(json.dumps(DOCUMENT))"
    made = {
        subprocess.run(  # with another hash seed, sets have another order
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(made) == 1


def test_both_credentials_are_declared() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert (schemes[SECRET]["type"], schemes[SECRET]["in"], schemes[SECRET]["name"]) == (
        "apiKey", "header", "X-Org-Secret",
    )  # fmt: skip
    assert (schemes[JWT]["type"], schemes[JWT]["scheme"]) == ("http", "bearer")


def test_the_operations_of_the_first_clients_are_deprecated() -> None:
    deprecated = {operation.id for operation in OPERATIONS if operation.definition.get("deprecated")}

    assert deprecated == {"changeTicketByPost", "changeTicketStatus"}


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
def test_an_example_is_made_from_a_schema(schema: JSON, example: object) -> None:
    assert make_example(schema, SCHEMAS, whole=True) == example


def test_the_example_of_a_request_omits_optional_fields_without_an_example() -> None:
    schema = {
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "integer", "default": 0},
            "c": {"type": "integer", "default": 0, "examples": [30]},
        },
        "required": ["a"],
    }

    assert make_example(schema, {}, whole=False) == {"a": 1, "c": 30}
    assert make_example(schema, {}, whole=True) == {"a": 1, "b": 0, "c": 30}
