"""The examples of the OpenAPI document could really happen, and its parts have names and descriptions that help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app import wiring
from app.core.fields import EXAMPLE_ID
from tests.docs.openapi import BY_ID, DOCUMENT, JSON_MEDIA, OPERATIONS, SCHEMAS, Operation

CHANGES = ["changeTicket", "changeTicketByPost", "changeTicketStatus", "acceptTicket", "respondToTicket"]
LISTS = [one for one in OPERATIONS if "Link" in one.definition["responses"].get("200", {}).get("headers", {})]
DEPRECATED = [one for one in OPERATIONS if one.definition.get("deprecated")]


def success_of(operation: Operation) -> Any:
    return operation.definition["responses"][str(operation.success_statuses[0])]


def example_of(operation: Operation) -> Any:
    return success_of(operation)["content"][JSON_MEDIA]["example"]


# --- examples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_ticket_has_a_new_version_and_time(name: str) -> None:
    response = success_of(BY_ID[name])
    example = example_of(BY_ID[name])
    ticket = example.get("ticket", example)

    assert ticket["version"] == 2
    assert response["headers"]["ETag"]["example"] == '"2"'
    assert ticket["updatedAt"] > ticket["createdAt"]


def test_only_responded_example_tickets_have_response_and_auto_close_times() -> None:
    for operation in OPERATIONS:
        if not operation.path.startswith("/tickets") or not operation.success_statuses[0] < 202:
            continue
        example = example_of(operation)
        for ticket in [example, example.get("ticket", {}), *example.get("items", ())]:
            if "autoCloseAt" in ticket:
                times = ticket["respondedAt"] is not None, ticket["autoCloseAt"] is not None
                assert times == (ticket["status"] == "RESPONDED",) * 2, operation.id
                assert not ticket.get("comments") or ticket["status"] == "RESPONDED", operation.id


def test_the_example_of_a_history_is_an_auto_close() -> None:
    [event] = example_of(BY_ID["getTicketHistory"])["items"]

    assert event["actor"] == {"type": "SYSTEM"}
    assert event["data"] == {"from": "RESPONDED", "to": "CLOSED", "reason": "AUTO_CLOSE"}


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.id)
def test_the_example_link_leads_to_the_page_after_the_example_page(operation: Operation) -> None:
    link = success_of(operation)["headers"]["Link"]["example"]
    page = example_of(operation)
    address = urlsplit(re.fullmatch(r'<(.+)>; rel="next"', link)[1])  # type: ignore[index]

    assert address.path == operation.path.format(id=EXAMPLE_ID)
    assert parse_qs(address.query) == {"limit": [str(len(page["items"]))], "cursor": [page["nextCursor"]]}


def test_kinds_of_timers_are_enumerated() -> None:
    assert set(SCHEMAS["FiredTimer"]["properties"]["kind"]["enum"]) == set(wiring.TICKET_TIMERS)
    assert SCHEMAS["ScheduledAction"]["properties"]["kind"]["const"] in wiring.TICKET_TIMERS


# --- names and descriptions -------------------------------------------------------------------------------------------


def properties_in(name: str, schema: Any) -> Iterator[tuple[str, Any]]:
    for field, inner in schema.get("properties", {}).items():
        yield f"{name}.{field}", inner
        yield from properties_in(f"{name}.{field}", inner)
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from properties_in(f"{name}[]", schema[keyword])
    for keyword in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(keyword, ()):
            yield from properties_in(name, part)


def test_every_property_of_every_schema_is_described() -> None:
    found = [one for name, schema in SCHEMAS.items() for one in properties_in(name, schema)]

    assert len(found) > 300
    assert [name for name, schema in found if not schema.get("description")] == []


def test_shared_responses_have_names_and_no_numbers() -> None:
    names = DOCUMENT["components"]["responses"]

    assert {"Forbidden", "Unauthenticated", "InvalidInput", "InvalidCursorOrInvalidInput"} <= names.keys()
    assert [name for name in names if not re.fullmatch(r"([A-Z][a-z]*)+", name)] == []


@pytest.mark.parametrize("operation", DEPRECATED, ids=lambda operation: operation.id)
def test_a_deprecated_operation_names_its_replacement_and_documents_its_headers(operation: Operation) -> None:
    named = re.match(r"Use `(\w+) ([^`]+)`", operation.definition["description"])

    assert named is not None
    assert {one.key for one in OPERATIONS if not one.definition.get("deprecated")} >= {named.groups()}
    headers = success_of(operation)["headers"]
    assert headers["Deprecation"]["example"] == "@1795737600"
    assert headers["Sunset"]["example"] == "Sat, 27 Nov 2027 00:00:00 GMT"


def test_there_are_deprecated_operations_and_lists() -> None:
    assert {one.id for one in DEPRECATED} == {"changeTicketByPost", "changeTicketStatus"}
    assert len(LISTS) > 5


def test_credentials_are_described_in_sentences() -> None:
    described = {one.id: one.definition["description"] for one in OPERATIONS}

    assert described["getMe"].endswith("Requires a signed-in user.")
    assert described["signUpAdmin"].endswith("Requires the organisation's secret key.")
    assert described["getTicket"].endswith(
        "Accepts the organisation's secret key. Users need the permission `tickets:view`."
    )
    assert described["acceptTicket"].endswith(
        "Users need the permissions `tickets:update` and `tickets:view`. Customers cannot call it."
    )
