"""What OpenAPI linters and client generators require, checked without these tools.

`redocly lint` and `openapi-python-client` reported these problems in earlier versions of the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from app import __version__, api_document
from app.core.config import Settings
from app.core.errors import TesseraError
from app.core.web.error_catalogue import list_error_codes
from app.core.web.openapi_tidy import drop_null, name_enum_values, remove_titles, unwrap
from app.core.web.problems import CODES_BY_STATUS
from app.main import create_api
from tests.docs.openapi import DOCUMENT, OPERATIONS, PROBLEM, SCHEMAS, Operation, each_operation
from tests.organisation_client import JSON, Api

# Of which the schemas of all events take 15,000, the headers of limits 12,000, and fresh sign-ins and the operations
# about whose account an e-mail belongs to 11,000.
MAX_BYTES = 410_000
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def schemas_in(value: Any) -> Iterator[JSON]:
    """Yield all objects of a document that may be schemas, examples aside."""
    if isinstance(value, list):
        for inner in value:
            yield from schemas_in(inner)
    elif isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in {"example", "examples", "default"}:
                yield from schemas_in(inner)


# --- the whole document -----------------------------------------------------------------------------------------------


async def test_the_document_is_small(api: Api) -> None:
    answer = await api.http.get("/openapi.json")

    assert answer.json() == DOCUMENT
    assert len(answer.content) < MAX_BYTES


def test_the_document_names_its_version_licence_and_contact() -> None:
    info = DOCUMENT["info"]

    assert (info["title"], info["version"]) == ("Tessera", __version__)
    assert info["license"] == {"name": "MIT", "identifier": "MIT"}
    assert info["contact"]["name"] == "Tessera contributors"


def test_the_server_is_the_public_address_if_there_is_one() -> None:
    values = {"secret_key": None, "database_url": None, "public_url": "https://tessera.example/"}

    assert DOCUMENT["servers"] == [{"url": "/"}]
    assert create_api(Settings.model_validate(values)).openapi()["servers"] == [{"url": "https://tessera.example"}]


def test_tickets_come_first() -> None:
    assert [tag["name"] for tag in DOCUMENT["tags"]][:2] == ["Tickets", "Organisations"]


# --- operations -------------------------------------------------------------------------------------------------------


@each_operation
def test_an_operation_declares_its_security_and_a_success_response(operation: Operation) -> None:
    assert isinstance(operation.definition["security"], list)
    assert [status for status in operation.definition["responses"] if status[0] in "23"]


@each_operation
def test_parameters_are_not_nullable_and_described_once(operation: Operation) -> None:
    for parameter in operation.definition.get("parameters", []):
        assert "null" not in json.dumps(parameter["schema"]), parameter["name"]
        assert "description" not in parameter["schema"], parameter["name"]


def test_every_error_response_is_shared() -> None:
    responses = [
        response
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if status >= "4"
    ]

    assert len(responses) > 700
    assert all(list(response) == ["$ref"] for response in responses)
    assert len({response["$ref"] for response in responses}) == len(DOCUMENT["components"]["responses"]) < 120


def test_equal_parameters_are_shared() -> None:
    declared = [
        json.dumps(parameter, sort_keys=True)
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
        if "$ref" not in parameter
    ]

    assert {"limit", "cursor", "id"} <= DOCUMENT["components"]["parameters"].keys()
    assert len(set(declared)) == len(declared) > 10


def test_no_two_shared_components_are_equal() -> None:
    for kind in ("responses", "examples", "headers", "parameters"):
        contents = [json.dumps(one, sort_keys=True) for one in DOCUMENT["components"][kind].values()]
        assert len(set(contents)) == len(contents)


def test_descriptions_are_sentences_without_the_line_breaks_of_the_source() -> None:
    described = [one["description"] for one in schemas_in(DOCUMENT) if isinstance(one.get("description"), str)]

    assert len(described) > 200
    assert [text for text in described if ".;" in text or ".." in text] == []
    assert [text for text in described if re.search(r"\w\n\w", text)] == []


# --- schemas ----------------------------------------------------------------------------------------------------------


def test_no_schema_has_a_title() -> None:
    titled = [one for one in schemas_in([DOCUMENT["paths"], SCHEMAS]) if isinstance(one.get("title"), str)]

    assert titled == []


def test_values_of_enums_have_names_for_generated_clients() -> None:
    enums = [one for one in schemas_in(DOCUMENT) if isinstance(one.get("enum"), list)]
    names: list[list[Any]] = [one.get("x-enum-varnames") or one["enum"] for one in enums]

    assert len(enums) > 5
    assert [len(set(some)) for some in names] == [len(one["enum"]) for one in enums]
    assert [name for some in names for name in some if not IDENTIFIER.fullmatch(str(name))] == []
    (sort,) = (one for one in enums if "-createdAt" in one["enum"])
    assert dict(zip(sort["enum"], sort["x-enum-varnames"], strict=True)) == {
        "-createdAt": "CREATED_AT_DESC",
        "createdAt": "CREATED_AT_ASC",
        "-updatedAt": "UPDATED_AT_DESC",
        "updatedAt": "UPDATED_AT_ASC",
    }


def test_problems_declare_all_members_that_they_can_have() -> None:
    declared = set(SCHEMAS["Problem"]["properties"])
    shown = {
        member
        for operation in OPERATIONS
        for response in operation.definition["responses"].values()
        for example in response.get("content", {}).get(PROBLEM, {}).get("examples", {}).values()
        for member in example["value"]
    }

    assert shown == declared == {*SCHEMAS["Problem"]["required"], "errors", "exchangeToken"}


# --- the introduction and the catalogue of codes ----------------------------------------------------------------------


def test_the_introduction_has_headings_and_unwrapped_paragraphs() -> None:
    text = DOCUMENT["info"]["description"]

    assert text == api_document.read_introduction().strip()
    assert "{error_codes}" not in text
    assert {"## Start here", "### Credentials", "### Error codes"} <= set(text.splitlines())
    assert not re.search(r"\w\n\w", text)
    assert (text.count("<details>"), text.count("</details>")) == (1, 1)


def test_operations_in_the_introduction_exist() -> None:
    named = re.findall(
        r"`(GET|POST|PUT|PATCH|DELETE) ([^`?]+)", files("app").joinpath("api_introduction.md").read_text()
    )

    assert len(named) > 10
    assert [one for one in named if one not in {operation.key for operation in OPERATIONS}] == []


def test_the_catalogue_has_every_code_of_every_operation() -> None:
    codes = {one.code: one for one in list_error_codes()}
    table = DOCUMENT["info"]["description"]
    documented = {
        (code, int(status))
        for operation in OPERATIONS
        for status, response in operation.definition["responses"].items()
        for code in response.get("content", {}).get(PROBLEM, {}).get("examples", {})
    }

    assert documented <= {(one.code, one.status) for one in codes.values()}
    assert {code for code, _ in CODES_BY_STATUS.values()} <= codes.keys()
    for one in codes.values():
        assert f"| `{one.code}` | {one.status} | {one.meaning} |" in table
        assert re.fullmatch(r"[A-Z`].+?\. .+\.", one.meaning), "must state the fact and the way out"
        assert not re.search(r"\brows?\b|\bthread|retry_after|[A-Z]_[A-Z]|\|", one.meaning), "contains an internal name"


def test_errors_of_tests_are_not_in_the_catalogue() -> None:
    class Invented(TesseraError):
        code = "invented_by_a_test"

    assert Invented.code not in {one.code for one in list_error_codes()}


# --- how schemas are tidied up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "tidy"),
    [
        ({"type": "string"}, {"type": "string"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "examples": ["a"]},
         {"type": "string", "examples": ["a"]}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
         {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
    ],
)  # fmt: skip
def test_null_is_dropped(schema: JSON, tidy: JSON) -> None:
    assert drop_null(schema) == tidy


def test_titles_are_removed_but_not_fields_of_that_name() -> None:
    schema = {"title": "A", "properties": {"title": {"title": "Title", "anyOf": [{"title": "B", "type": "string"}]}}}

    remove_titles(schema)

    assert schema == {"properties": {"title": {"anyOf": [{"type": "string"}]}}}


def test_enums_get_names_if_their_values_are_not_valid_names() -> None:
    schemas: list[JSON] = [{"enum": ["OPEN", "IN_PROGRESS"]}, {"enum": ["-lastUsedAt", "me"]}, {"enum": [1, 2]}]

    name_enum_values(schemas)

    assert [one.get("x-enum-varnames") for one in schemas] == [None, ["LAST_USED_AT_DESC", "ME"], None]


@pytest.mark.parametrize(
    ("markdown", "unwrapped"),
    [
        ("One\ntwo.\n\nThree.", "One two.\n\nThree."),
        ("- one\n  two\n- three", "- one two\n- three"),
        ("1. one\n   two\n2. three", "1. one two\n2. three"),
        ("## Head\ntext\ntext", "## Head\ntext text"),
        ("| a |\n|---|\n| b |\ntext", "| a |\n|---|\n| b |\ntext"),
        ("```\na\nb\n```\ntext\ntext", "```\na\nb\n```\ntext text"),
        ("**Bold** at\n**both** ends", "**Bold** at **both** ends"),
    ],
)
def test_paragraphs_are_unwrapped(markdown: str, unwrapped: str) -> None:
    assert unwrap(markdown) == unwrapped
