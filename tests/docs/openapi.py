"""The contract with clients, the OpenAPI document, and tools to read it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jsonschema_rs
import pytest

from app.core.config import Settings
from app.main import create_api
from tests.organisation_client import JSON

SECRET, JWT = "organisationSecret", "jwt"
JSON_MEDIA, FORM, PROBLEM = "application/json", "multipart/form-data", "application/problem+json"

# The accepted credentials: any one of them; `set()` is none in a header.
Credentials = list[set[str]]
PUBLIC: Credentials = []
PERSON: Credentials = [{JWT}]
EITHER: Credentials = [{SECRET}, {JWT}]
PRODUCT: Credentials = [{SECRET}, set()]  # or the secret in the body
ANY: Credentials = [{SECRET}, {JWT}, set()]  # the same, or a user

# The contract: every operation, its credentials, the status of success, and other statuses that are not errors.
CONTRACT: dict[tuple[str, str], tuple[Credentials, *tuple[int, ...]]] = {
    ("POST", "/auth/org/signup"): (PUBLIC, 201),
    ("GET", "/org"): (EITHER, 200),
    ("PATCH", "/org"): (PERSON, 200),
    ("POST", "/org/clock/advance"): (EITHER, 200),
    ("POST", "/auth/signup"): (PUBLIC, 201),
    ("POST", "/auth/admin/signup"): (PRODUCT, 201),
    ("POST", "/auth/signin"): (PUBLIC, 200),
    ("POST", "/auth/admin/signin"): (PUBLIC, 200),
    ("POST", "/auth/engineer/signin"): (PUBLIC, 200),
    ("POST", "/auth/customer/signin"): (PUBLIC, 200),
    ("GET", "/auth/oidc/{provider}/start"): (PUBLIC, 302),
    ("GET", "/auth/oidc/{provider}/callback"): (PUBLIC, 200, 302),
    ("POST", "/auth/oidc/exchange"): (PUBLIC, 200),
    ("POST", "/auth/refresh"): (PUBLIC, 200),
    ("POST", "/auth/signout"): (PERSON, 204),
    ("POST", "/auth/signout-all"): (PERSON, 204),
    ("POST", "/auth/verify"): (PUBLIC, 200),
    ("GET", "/me/sessions"): (PERSON, 200),
    ("DELETE", "/me/sessions/{id}"): (PERSON, 204),
    ("POST", "/auth/password/forgot"): (PUBLIC, 202),
    ("POST", "/auth/password/reset"): (PUBLIC, 204),
    ("POST", "/auth/password/change"): (PERSON, 204),
    ("POST", "/auth/email/verify"): (PUBLIC, 200),
    ("POST", "/auth/email/resend"): (PUBLIC, 202),
    ("POST", "/auth/email/change"): (PERSON, 202),
    ("POST", "/auth/2fa/setup"): (PERSON, 200),
    ("POST", "/auth/2fa/confirm"): (PERSON, 200),
    ("POST", "/auth/2fa/recovery-codes"): (PERSON, 200),
    ("POST", "/auth/2fa/disable"): (PERSON, 204),
    ("POST", "/auth/invitation/accept"): (PUBLIC, 200),
    ("GET", "/me"): (PERSON, 200),
    ("PATCH", "/me"): (PERSON, 200),
    ("PUT", "/me/picture"): (PERSON, 200),
    ("DELETE", "/me/picture"): (PERSON, 204),
    ("GET", "/users/{id}/picture"): (PERSON, 200, 304),
    ("GET", "/me/menu"): (PERSON, 200),
    ("GET", "/users"): (PERSON, 200),
    ("POST", "/users"): (PERSON, 201),
    ("GET", "/users/{id}"): (PERSON, 200),
    ("PATCH", "/users/{id}"): (PERSON, 200),
    ("DELETE", "/users/{id}"): (PERSON, 204),
    ("POST", "/users/{id}/approve"): (PERSON, 200),
    ("POST", "/users/{id}/reject"): (PERSON, 200),
    ("POST", "/users/{id}/invitation"): (PERSON, 200),
    ("DELETE", "/users/{id}/invitation"): (PERSON, 204),
    ("PUT", "/users/{id}/role"): (PERSON, 200),
    ("DELETE", "/users/{id}/2fa"): (PERSON, 204),
    ("GET", "/users/{id}/permissions"): (PERSON, 200),
    ("PUT", "/users/{id}/permissions"): (PERSON, 200),
    ("GET", "/roles"): (PERSON, 200),
    ("POST", "/roles"): (PERSON, 201),
    ("GET", "/roles/{id}"): (PERSON, 200),
    ("PATCH", "/roles/{id}"): (PERSON, 200),
    ("DELETE", "/roles/{id}"): (PERSON, 204),
    ("GET", "/menus"): (PERSON, 200),
    ("POST", "/menus"): (PERSON, 201),
    ("GET", "/menus/{id}"): (PERSON, 200),
    ("PATCH", "/menus/{id}"): (PERSON, 200),
    ("DELETE", "/menus/{id}"): (PERSON, 204),
    ("POST", "/tickets"): (ANY, 201),
    ("GET", "/tickets"): (EITHER, 200),
    ("GET", "/tickets/{id}"): (EITHER, 200, 304),
    ("PATCH", "/tickets/{id}"): (PERSON, 200),
    ("POST", "/tickets/{id}"): (PERSON, 200),
    ("POST", "/tickets/{id}/accept"): (PERSON, 200),
    ("POST", "/tickets/{id}/change_status"): (PERSON, 200),
    ("POST", "/tickets/{id}/respond"): (PERSON, 201),
    ("GET", "/tickets/{id}/history"): (EITHER, 200),
    ("GET", "/tickets/{id}/schedule"): (EITHER, 200),
    ("GET", "/notifications"): (PERSON, 200),
    ("GET", "/notifications/{id}"): (PERSON, 200),
    ("GET", "/jobs"): (PERSON, 200),
    ("GET", "/"): (PUBLIC, 200, 307),
    ("GET", "/health/live"): (PUBLIC, 200),
    ("GET", "/health/ready"): (PUBLIC, 200),
    ("GET", "/metrics"): (PUBLIC, 200),
}


class Operation(NamedTuple):
    """An operation of the document."""

    method: str
    path: str
    said: JSON

    @property
    def body(self) -> JSON | None:
        content: JSON | None = self.said.get("requestBody", {}).get("content")
        return content

    @property
    def id(self) -> str:
        return str(self.said["operationId"])

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def credentials(self) -> Credentials:
        """Return the credentials of the contract."""
        return CONTRACT[self.key][0]

    @property
    def good(self) -> tuple[int, ...]:
        """Return the statuses of the contract, success first."""
        _, *statuses = CONTRACT[self.key]
        return tuple(statuses)

    def documents(self, status: int, code: str) -> bool:
        """Tell whether it documents this error."""
        response = self.said["responses"].get(str(status), {})
        return code in response.get("content", {}).get(PROBLEM, {}).get("examples", {})


DOCUMENT: JSON = create_api(Settings.model_validate({"secret_key": None, "database_url": None})).openapi()
SCHEMAS: JSON = DOCUMENT["components"]["schemas"]


def resolve(value: Any) -> Any:
    """Replace references, except those to schemas, by what they refer to."""
    if isinstance(value, list):
        return [resolve(one) for one in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref", "#/components/schemas")
    if reference.startswith("#/components/schemas"):
        return {name: resolve(one) for name, one in value.items()}
    _, _, kind, name = reference.split("/")
    return resolve(DOCUMENT["components"][kind][name])


OPERATIONS = [
    Operation(method.upper(), path, resolve(said))
    for path, item in DOCUMENT["paths"].items()
    for method, said in item.items()
]
BY_ID = {operation.id: operation for operation in OPERATIONS}
EACH = pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{o.method} {o.path}" for o in OPERATIONS])


def mistakes(value: object, schema: JSON, *, closed: bool = False) -> list[str]:
    """List what a schema of the document finds wrong with a value. If `closed`, unknown fields are wrong as well."""
    schemas = {name: {**one, "additionalProperties": False} for name, one in SCHEMAS.items()} if closed else SCHEMAS
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": {"schemas": schemas}}, validate_formats=True
    )
    return [str(error) for error in validator.iter_errors(value)]


def examples(media: JSON) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    return [one["value"] for one in media.get("examples", {}).values()]
