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

# The accepted credentials: any one of them. `set()` is no credential in a header.
Credentials = list[set[str]]
PUBLIC: Credentials = []
USER: Credentials = [{JWT}]
EITHER: Credentials = [{SECRET}, {JWT}]
USER_OR_TOKEN: Credentials = [{JWT}, set()]  # a refresh token in the body
PRODUCT: Credentials = [{SECRET}, set()]  # the secret key can also be in the body
ANY: Credentials = [{SECRET}, {JWT}, set()]  # a user, or a product with the secret key in header or body

# The contract: every operation, its credentials, the status of success, and other statuses that are not errors.
CONTRACT: dict[tuple[str, str], tuple[Credentials, *tuple[int, ...]]] = {
    ("POST", "/auth/org/signup"): (PUBLIC, 201),
    ("GET", "/org"): (EITHER, 200),
    ("PATCH", "/org"): (USER, 200),
    ("POST", "/org/clock/advance"): (EITHER, 200),
    ("GET", "/org/domain"): (USER, 200),
    ("POST", "/org/domain/verify"): (USER, 200),
    ("POST", "/org/domain/confirm"): (PUBLIC, 200),
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
    ("POST", "/auth/reauthenticate"): (USER, 200),
    ("POST", "/auth/signout"): (USER_OR_TOKEN, 204),
    ("POST", "/auth/signout-all"): (USER, 204),
    ("POST", "/auth/verify"): (PUBLIC, 200),
    ("GET", "/me/sessions"): (USER, 200),
    ("DELETE", "/me/sessions/{id}"): (USER, 204),
    ("POST", "/auth/password/forgot"): (PUBLIC, 202),
    ("POST", "/auth/password/reset"): (PUBLIC, 204),
    ("POST", "/auth/password/change"): (USER, 204),
    ("POST", "/auth/email/verify"): (PUBLIC, 200),
    ("POST", "/auth/email/lookup"): (PUBLIC, 200),
    ("POST", "/auth/email/disown"): (PUBLIC, 204),
    ("POST", "/auth/email/resend"): (PUBLIC, 202),
    ("POST", "/auth/email/change"): (USER, 202),
    ("POST", "/auth/2fa/setup"): (USER, 200),
    ("POST", "/auth/2fa/confirm"): (USER, 200),
    ("POST", "/auth/2fa/recovery-codes"): (USER, 200),
    ("POST", "/auth/2fa/disable"): (USER, 204),
    ("POST", "/auth/invitation/accept"): (PUBLIC, 200),
    ("GET", "/me"): (USER, 200),
    ("PATCH", "/me"): (USER, 200),
    ("PUT", "/me/picture"): (USER, 200),
    ("DELETE", "/me/picture"): (USER, 204),
    ("GET", "/users/{id}/picture"): (USER, 200, 304),
    ("GET", "/me/menu"): (USER, 200),
    ("GET", "/requesters"): (EITHER, 200),
    ("POST", "/requesters"): (EITHER, 201, 200),
    ("GET", "/requesters/{id}"): (EITHER, 200),
    ("PATCH", "/requesters/{id}"): (EITHER, 200),
    ("DELETE", "/requesters/{id}"): (EITHER, 204),
    ("POST", "/requesters/{id}/merge"): (EITHER, 200),
    ("GET", "/users"): (USER, 200),
    ("POST", "/users"): (USER, 201),
    ("GET", "/users/{id}"): (USER, 200),
    ("PATCH", "/users/{id}"): (USER, 200),
    ("DELETE", "/users/{id}"): (USER, 204),
    ("POST", "/users/{id}/approve"): (USER, 200),
    ("POST", "/users/{id}/reject"): (USER, 200),
    ("POST", "/users/{id}/invitation"): (USER, 200),
    ("DELETE", "/users/{id}/invitation"): (USER, 204),
    ("PUT", "/users/{id}/role"): (USER, 200),
    ("DELETE", "/users/{id}/2fa"): (USER, 204),
    ("GET", "/users/{id}/permissions"): (USER, 200),
    ("PUT", "/users/{id}/permissions"): (USER, 200),
    ("GET", "/roles"): (USER, 200),
    ("POST", "/roles"): (USER, 201),
    ("GET", "/roles/{id}"): (USER, 200),
    ("PATCH", "/roles/{id}"): (USER, 200),
    ("DELETE", "/roles/{id}"): (USER, 204),
    ("GET", "/menus"): (USER, 200),
    ("POST", "/menus"): (USER, 201),
    ("GET", "/menus/{id}"): (USER, 200),
    ("PATCH", "/menus/{id}"): (USER, 200),
    ("DELETE", "/menus/{id}"): (USER, 204),
    ("POST", "/tickets"): (ANY, 201),
    ("GET", "/tickets"): (EITHER, 200),
    ("GET", "/tickets/{id}"): (EITHER, 200, 304),
    ("PATCH", "/tickets/{id}"): (USER, 200),
    ("POST", "/tickets/{id}"): (USER, 200),
    ("POST", "/tickets/{id}/accept"): (USER, 200),
    ("POST", "/tickets/{id}/change_status"): (USER, 200),
    ("POST", "/tickets/{id}/respond"): (USER, 201),
    ("GET", "/tickets/{id}/history"): (EITHER, 200),
    ("GET", "/tickets/{id}/schedule"): (EITHER, 200),
    ("GET", "/notifications"): (USER, 200),
    ("GET", "/notifications/{id}"): (USER, 200),
    ("GET", "/jobs"): (USER, 200),
    ("GET", "/"): (PUBLIC, 200, 307),
    ("GET", "/health/live"): (PUBLIC, 200),
    ("GET", "/health/ready"): (PUBLIC, 200),
    ("GET", "/metrics"): (PUBLIC, 200),
}


class Operation(NamedTuple):
    """An operation of the document."""

    method: str
    path: str
    definition: JSON

    @property
    def body(self) -> JSON | None:
        content: JSON | None = self.definition.get("requestBody", {}).get("content")
        return content

    @property
    def id(self) -> str:
        return str(self.definition["operationId"])

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path

    @property
    def credentials(self) -> Credentials:
        """The credentials in the contract."""
        return CONTRACT[self.key][0]

    @property
    def success_statuses(self) -> tuple[int, ...]:
        """The statuses in the contract that are not errors, success first."""
        _, *statuses = CONTRACT[self.key]
        return tuple(statuses)

    def documents(self, status: int, code: str) -> bool:
        """Return whether it documents this error."""
        response = self.definition["responses"].get(str(status), {})
        return code in response.get("content", {}).get(PROBLEM, {}).get("examples", {})


DOCUMENT: JSON = create_api(Settings.model_validate({"secret_key": None, "database_url": None})).openapi()
SCHEMAS: JSON = DOCUMENT["components"]["schemas"]


def resolve(value: Any) -> Any:
    """Replace references by their targets, except references to schemas."""
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
    Operation(method.upper(), path, resolve(definition))
    for path, item in DOCUMENT["paths"].items()
    for method, definition in item.items()
]
BY_ID = {operation.id: operation for operation in OPERATIONS}
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{o.method} {o.path}" for o in OPERATIONS])


def find_schema_errors(value: object, schema: JSON, *, closed: bool = False) -> list[str]:
    """List the errors of a value under a schema of the document. If `closed`, unknown fields are errors too."""
    schemas = {name: {**one, "additionalProperties": False} for name, one in SCHEMAS.items()} if closed else SCHEMAS
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": {"schemas": schemas}}, validate_formats=True
    )
    return [str(error) for error in validator.iter_errors(value)]


def list_examples(media: JSON) -> list[Any]:
    if "example" in media:
        return [media["example"]]
    return [one["value"] for one in media.get("examples", {}).values()]
