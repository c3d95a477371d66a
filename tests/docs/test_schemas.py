"""The schemas and parameters of the OpenAPI document suit generated clients."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.docs.openapi import DOCUMENT, OPERATIONS, SCHEMAS, Operation, each_operation


def test_every_reference_resolves_and_every_component_is_used() -> None:
    components = {kind: names for kind, names in DOCUMENT["components"].items() if kind != "securitySchemes"}

    assert set(references(DOCUMENT)) == {
        f"#/components/{kind}/{name}" for kind in components for name in components[kind]
    }


def test_schemas_have_names_that_a_generated_client_can_export() -> None:
    bare = {"Status", "Priority", "Purpose", "Refresh", "Pending", "History", "Verify", "Exchange", "Begin", "Job"}

    assert [name for name in SCHEMAS if re.search("(In|Out)$|__", name)] == []
    assert bare.isdisjoint(SCHEMAS)


def test_every_field_of_a_schema_has_a_description() -> None:
    undescribed = [
        f"{schema}.{name}"
        for schema, definition in SCHEMAS.items()
        for name, field in definition.get("properties", {}).items()
        if not field.get("description")
    ]

    assert undescribed == []


@each_operation
def test_a_parameter_that_may_be_absent_is_not_nullable(operation: Operation) -> None:
    parameters = operation.definition.get("parameters", [])

    assert [one["name"] for one in parameters if "null" in json.dumps(one["schema"])] == []


def test_fields_of_updates_are_optional_and_have_no_default() -> None:
    updates = {
        name: definition
        for name, definition in SCHEMAS.items()
        if "Fields that are not sent stay as they are" in str(definition)
    }

    assert {"TicketUpdate", "OrganisationUpdate", "ProfileUpdate", "UserUpdate", "RoleUpdate"} <= updates.keys()
    for definition in updates.values():
        assert "required" not in definition
        assert [name for name, field in definition["properties"].items() if "default" in field] == []


def test_sort_orders_have_names_for_generated_clients() -> None:
    order = SCHEMAS["TicketSort"]

    assert dict(zip(order["x-enum-varnames"], order["enum"], strict=True)) == {
        "CREATED_AT_DESC": "-createdAt",
        "CREATED_AT_ASC": "createdAt",
        "UPDATED_AT_DESC": "-updatedAt",
        "UPDATED_AT_ASC": "updatedAt",
    }


def test_the_names_of_the_first_clients_are_deprecated() -> None:
    deprecated = {
        f"{schema}.{name}"
        for schema, definition in SCHEMAS.items()
        for name, field in definition.get("properties", {}).items()
        if field.get("deprecated")
    }
    parameters = {
        parameter["name"]
        for operation in OPERATIONS
        for parameter in operation.definition.get("parameters", [])
        if parameter.get("deprecated")
    }

    assert deprecated >= {"TicketCreate.addedBy", "Ticket.addedBy", "Ticket.adminId", "TicketUpdate.adminId"}
    assert deprecated >= {"TokenPair.jwt", "SignInResult.jwt", "TicketUpdate.orgId"}
    assert parameters == {"adminEmail", "customerEmail"}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
