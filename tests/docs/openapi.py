"""The contract, the OpenAPI document that is to keep it, and how to read it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jsonschema_rs
import pytest

from app.core.config import Settings
from app.main import create_api
from tests.desks import JSON

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
