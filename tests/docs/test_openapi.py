"""The OpenAPI document: whole, and with examples that its schemas accept."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.core.docs import example_of
from tests.desks import JSON
from tests.docs.openapi import (
    CONTRACT,
    DOCUMENT,
    EACH,
    JWT,
    OPERATIONS,
    PROBLEM,
    PUBLIC,
    SCHEMAS,
    SECRET,
    Operation,
    examples,
    mistakes,
)

# What test_pages.py takes from here.
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
