"""How operations describe themselves in OpenAPI: credentials, errors, and an example of everything.

A body's example is made of those that its fields have, so that it cannot fall behind them. An answer repeats what was
sent, and shows what an operation says that it does besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Protocol, runtime_checkable

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from app.core import errors
from app.core.errors import TesseraError
from app.core.fields import EXAMPLE_ID
from app.core.web.edge import HEADERS_TOO_LARGE, INTERNAL_ERROR, OVERLOADED, URI_TOO_LONG
from app.core.web.problems import CHALLENGE, CODE_OF, PROBLEM_MEDIA_TYPE, STATUS_OF

SECRET: dict[str, list[str]] = {"organisationSecret": []}
JWT: dict[str, list[str]] = {"jwt": []}

SECURITY_SCHEMES = {
    "organisationSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Org-Secret",
        "description": "An organisation's secret (`tsk_…`), for the products that post its users' tickets.",
    },
    "jwt": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user's access token, from `POST /auth/signin`.",
    },
}

PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "A problem document (RFC 9457). It has more members where an operation says so.",
    "required": ["type", "title", "status", "detail", "code", "requestId"],
    "properties": {
        "type": {"type": "string", "description": "A URN made of the code."},
        "title": {"type": "string", "description": "What it means in general."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What it means this time."},
        "code": {"type": "string", "description": "Stable: the one to compare with."},
        "requestId": {"type": "string", "description": "The `X-Request-Id`, which the logs name too."},
        "errors": {
            "type": "array",
            "description": "What is wrong with which field of the input.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

HEADERS = {
    "ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string"}, "example": '"1"'},
    "Location": {
        "description": "Where the new thing can be read.",
        "schema": {"type": "string"},
        "example": "/org",
    },
    "WWW-Authenticate": {"schema": {"type": "string"}, "example": CHALLENGE},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string"}, "example": "2"},
    "RateLimit": {
        "description": "What is left, and seconds until it is whole again.",
        "schema": {"type": "string"},
        "example": '"default";r=0;t=12',
    },
    "RateLimit-Policy": {
        "description": "How many within how many seconds.",
        "schema": {"type": "string"},
        "example": '"default";q=10;w=300',
    },
}

_STATUS_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit", "RateLimit-Policy"),
    503: ("Retry-After",),
}


_SHOWS = "x-shows"  # until the document is complete


def _example(status: int, code: str, title: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": f"urn:tessera:problem:{code}",
        "title": title,
        "status": status,
        "detail": title,
        "code": code,
        "requestId": "0b8e5f3f1c5d4c7c9a53a1c2b1c0d9ef",
    }
    if code == errors.BadInput.code:
        value["detail"] = "title: This is required."
        value["errors"] = [{"field": "title", "message": "This is required."}]
    return value


def answers(
    *kinds: type[TesseraError],
    body: bool = False,
    ok: Mapping[int, tuple[str, ...]] | None = None,
    location: str | None = None,
    shows: Mapping[int, Mapping[str, Any]] | None = None,
) -> dict[int | str, Any]:
    """The `responses` of an operation.

    Args:
        kinds: the errors that are its own; those that any operation can answer are added.
        body: whether it takes one, which can be too large, too slow or no JSON at all.
        ok: the headers of its good answers, by status.
        location: an example of the `Location` among them, where it is not the organisation's.
        shows: what in the examples of its good answers, by status, is other than the fields' own examples.
    """
    listed: dict[int, dict[str, str]] = {}
    own: tuple[type[TesseraError], ...] = (*kinds, errors.BadInput, errors.Unavailable)
    for kind in own:
        listed.setdefault(_status(kind), {})[kind.code] = kind.title
    for status in (400, 408, 413) if body else ():
        code, title = CODE_OF[status]
        listed.setdefault(status, {})[code] = title
    for refusal in (URI_TOO_LONG, HEADERS_TOO_LARGE, OVERLOADED, INTERNAL_ERROR):
        listed.setdefault(refusal.status, {})[refusal.code] = refusal.title
    documented: dict[int | str, Any] = {status: _documented(status, codes) for status, codes in sorted(listed.items())}
    for status, headers in (ok or {}).items():
        documented[status] = {"headers": {name: HEADERS[name] for name in headers}}
        if location:
            documented[status]["headers"]["Location"] = HEADERS["Location"] | {"example": location}
    for status, other in (shows or {}).items():
        documented.setdefault(status, {})[_SHOWS] = dict(other)
    return documented


def _status(kind: type[TesseraError]) -> int:
    return next(STATUS_OF[base] for base in kind.__mro__ if base in STATUS_OF)


def _documented(status: int, codes: dict[str, str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": "; ".join(f"`{code}`: {title}" for code, title in codes.items()),
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {code: {"value": _example(status, code, title)} for code, title in codes.items()},
            }
        },
    }
    if status in _STATUS_HEADERS:
        described["headers"] = {name: HEADERS[name] for name in _STATUS_HEADERS[status]}
    return described


@runtime_checkable
class Declaration(Protocol):
    """What an operation asks of its caller, as one of its dependencies declares it (`organisations/access.py`)."""

    permission: str | None

    @property
    def asks(self) -> str:
        """What the caller must be or have, in words."""
        ...

    @property
    def credentials(self) -> list[dict[str, list[str]]]:
        """OpenAPI's `security`."""
        ...

    @property
    def errors(self) -> tuple[type[TesseraError], ...]:
        """What it can raise."""
        ...


def declaration_of(route: APIRoute) -> Declaration | None:
    """What the route asks of its caller; nothing, where anybody may call it."""
    for dependency in route.dependant.dependencies:
        call: object = dependency.call
        if isinstance(call, Declaration):
            return call
    return None


def _declare(operation: dict[str, Any], declared: Declaration) -> None:
    operation["security"] = declared.credentials
    operation["x-permission"] = declared.permission or declared.asks
    operation["description"] += f"\n\n**Permission:** {declared.asks}."
    for status, refusal in answers(*declared.errors).items():
        responses = operation["responses"]
        present = responses.setdefault(str(status), refusal)
        (media,) = refusal["content"].values()
        examples = present["content"][PROBLEM_MEDIA_TYPE]["examples"]
        for code, example in media["examples"].items():
            if code not in examples:
                examples[code] = example
                present["description"] += f"; `{code}`: {example['value']['title']}"
    operation["responses"] = dict(sorted(operation["responses"].items()))


# --- the whole document ----------------------------------------------------------------------------------------------

_BY_FORMAT = {
    "uuid": EXAMPLE_ID,
    "date-time": "2026-03-02T09:30:00.125Z",
    "email": "mia@customer.example",
}
_BY_TYPE: dict[str, Any] = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "object": {}, "null": None}


def complete(document: dict[str, Any], routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """Add to an OpenAPI document what the operations do not say each: credentials, problems, examples, a good order."""
    for operation, route in _with_routes(document, routes):
        if declared := declaration_of(route):
            _declare(operation, declared)
        else:
            operation["x-permission"] = "none"
        for status, answer in operation["responses"].items():
            if answer["description"] == "Successful Response":  # the framework's way to say nothing
                answer["description"] = HTTPStatus(int(status)).phrase
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = SECURITY_SCHEMES
    schemas["Problem"] = PROBLEM_SCHEMA
    places = {tag["name"]: place for place, tag in enumerate(TAGS)}
    in_order = sorted(document["paths"].items(), key=lambda path: places[_operations(path[1])[0]["tags"][0]])
    document["paths"] = dict(in_order)
    for _, path in in_order:
        for operation in _operations(path):
            _add_examples(operation, schemas)
    return document


def _with_routes(document: dict[str, Any], routes: Iterable[BaseRoute]) -> Iterator[tuple[dict[str, Any], APIRoute]]:
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield document["paths"][route.path_format][method.lower()], route


def _operations(path: dict[str, Any]) -> list[dict[str, Any]]:
    return list(path.values())


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["schema"].get("deprecated"):  # `DEPRECATED` marks the field only
            parameter["deprecated"] = True
        if parameter["in"] == "path":
            parameter["example"] = example_of(parameter["schema"], schemas, whole=False)
    sent: dict[str, Any] = {}
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if "examples" not in media:
            media.setdefault("example", example_of(media["schema"], schemas, whole=False))
        sent |= _plain(media.get("example"))
    for status, answer in operation["responses"].items():
        shows = answer.pop(_SHOWS, {})
        for media in answer.get("content", {}).values() if status.startswith("2") else ():
            if "example" not in media and "examples" not in media:
                example = example_of(media["schema"], schemas, whole=True)
                media["example"] = _changed(_changed(example, sent), shows)


def _plain(body: object) -> dict[str, Any]:
    """Of a request's example, what its answer may repeat: no lists and no objects, of which it may say more."""
    fields = body.items() if isinstance(body, dict) else ()
    return {name: value for name, value in fields if not isinstance(value, (list, dict))}


def _changed(example: Any, other: Mapping[str, Any]) -> Any:
    """An example with some of its fields as they are here, and no further ones."""
    if not isinstance(example, dict):
        return example
    changed = dict(example)
    for name in example.keys() & other.keys():
        is_part = isinstance(other[name], Mapping)
        changed[name] = _changed(example[name], other[name]) if is_part else other[name]
    return changed


def example_of(schema: dict[str, Any], schemas: dict[str, Any], *, whole: bool) -> Any:
    """An example of what a JSON schema describes, made of the examples in it.

    Args:
        schemas: what `$ref` refers to.
        whole: whether objects have all their fields, or those alone that are required or have an example.
    """
    match {name: said for name, said in schema.items() if said is not None}:
        case {"examples": [given, *_]} | {"const": given} | {"default": given} | {"enum": [given, *_]}:
            return given
        case {"$ref": reference}:
            return example_of(schemas[reference.rpartition("/")[2]], schemas, whole=whole)
        case {"anyOf": [first, *others]}:
            # What may be null mostly is, at first; but not what has fields to show.
            is_plain = {"type": "null"} in others and "$ref" not in first
            return None if is_plain else example_of(first, schemas, whole=whole)
        case {"properties": properties}:
            required = schema.get("required", ())
            return {
                name: example_of(field, schemas, whole=whole)
                for name, field in properties.items()
                if whole or name in required or "examples" in field
            }
        case {"type": "array", "items": items}:
            return [example_of(items, schemas, whole=whole)]
        case _:
            return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(schema.get("type", "object")))


DESCRIPTION = """
Ticketing that a product plugs in: your product posts its users' tickets, your users answer them, the rest happens by
itself.

**Start here.** `POST /auth/org/signup` makes an organisation and shows its **secret** once. With the secret,
`POST /auth/admin/signup` makes an admin, and `POST /tickets` opens tickets. `POST /auth/signin` gives the admin a
**JWT**, to read, answer and change tickets with. Press *Authorize* and enter either or both.

**Credentials.** Products send `X-Org-Secret: tsk_…`; users send `Authorization: Bearer …`. Where both come, the
JWT counts; but posting tickets and signing an admin up then go by the secret.

**Users** are `ADMIN`, `ENGINEER` or `CUSTOMER`. Customers who sign up (`POST /auth/signup`) can act at once, and reach
only their own tickets; engineers and admins wait for an admin's approval (`POST /users/{id}/approve`) or are invited
(`POST /users`). Signing up is answered alike whether or not the e-mail has an account already, whose owner gets a mail.

**Sessions.** An access token lasts half an hour. Exchange the refresh token for the next one (`POST /auth/refresh`):
each is good once. A session ends a day after it was used last, with `rememberMe` 30 days. A change of role, status or
password acts on tokens that are in use within five seconds.

**Second factor.** Whoever has one (`POST /auth/2fa/setup`) gets 401 `totp_required` when they sign in: send the same
again with `totp`, the code that their authenticator shows, or `recoveryCode`.

**Signing in elsewhere.** Send a browser to `GET /auth/oidc/{provider}/start?org=…`. It comes back to
`{appUrl}/signed-in#token=…`, and `POST /auth/oidc/exchange` gives the tokens for that.

**Permissions.** Where an operation says so, a user's role must allow it (403 `permission_required`). Roles are built
in or your own (`/roles`), and one user may be granted or denied more (`PUT /users/{id}/permissions`). Nobody can give
what they do not have. Your front end's menu (`/menus`) follows from them: `GET /me/menu` and signing in answer what of
it somebody sees.

**Links in mails** lead to `appUrl` of your organisation (`PATCH /org`), or to Tessera itself while there is none, and
there to `/verify-email`, `/confirm-email`, `/reset-password` or `/accept-invitation`, each ending in `#token=…`. Your
page passes the token on: to `POST /auth/email/verify` (the first two), `/auth/password/reset` or
`/auth/invitation/accept`. A token works once.

**Errors** are problem documents (RFC 9457): compare `code`, show `detail`, and quote `requestId` (also in the header
`X-Request-Id`) when you ask for help. Another organisation's things answer 404, as if they did not exist. 503 with
`Retry-After` means: the same call may work in a moment.

**Lists** are `{items, nextCursor}`: pass `nextCursor` as `cursor` to go on; it is null on the last page. Repeat a
filter to accept any of its values. Unknown parameters and unknown fields are refused with 422.

**Concurrent changes.** A ticket's `ETag` is its version. Send it back as `If-Match`, and a change that somebody else
overtook is refused with 412 instead of overwriting theirs.

**Time** is RFC 3339 in UTC. A sandbox organisation has a clock of its own, which `POST /org/clock/advance` moves
forward.
"""

TAGS = [
    {"name": "Organisations", "description": "Tenants, their settings, and a sandbox's clock."},
    {"name": "Signing in", "description": "Signing up and in, sessions, passwords, e-mails, the second factor."},
    {"name": "Profile", "description": "What the signed-in user says of themselves, and their menu."},
    {"name": "Users", "description": "The users of an organisation: approving, inviting, changing, erasing them."},
    {"name": "Roles", "description": "What users may do."},
    {"name": "Menus", "description": "What an organisation's own front end shows, and to whom."},
    {"name": "Tickets", "description": "Opening, finding, answering and changing tickets; their history and schedule."},
    {"name": "Notifications", "description": "What was mailed to whom, and what became of it."},
    {"name": "Operations", "description": "Health, metrics, and the worker's jobs."},
]
