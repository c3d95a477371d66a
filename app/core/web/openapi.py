"""The OpenAPI declarations of an operation: its credentials, and its responses.

The credentials that exist, and the paths in examples, are passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core import errors
from app.core.errors import TesseraError
from app.core.web.declarations import OperationRequirement
from app.core.web.problems import CODES_BY_STATUS, PROBLEM_MEDIA_TYPE, get_status
from app.core.web.refusals import HEADERS_TOO_LARGE, INTERNAL_ERROR, OVERLOADED, URI_TOO_LONG

HEADERS = {
    "ETag": {
        "description": "The version of the resource, for `If-Match` and `If-None-Match`.",
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "Location": {
        "description": "The address of the new resource.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "The authentication schemes that the operation accepts (RFC 9110, 11.6.1).",
        "schema": {"type": "string"},
        "example": 'Bearer realm="tessera"',
    },
    "Deprecation": {
        "description": "Since when the operation is deprecated (RFC 9745). Its description names the replacement.",
        "schema": {"type": "string"},
    },
    "Sunset": {
        "description": "Until when the operation stays at least (RFC 8594).",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "string"}, "example": "2"},
    "RateLimit": {
        "description": "Attempts left in each limit, and seconds until all of them are back. The tightest comes first.",
        "schema": {"type": "string"},
        "example": '"sign-in";r=297;t=12',
    },
    "RateLimit-Policy": {
        "description": "Attempts allowed within a number of seconds, in the same order.",
        "schema": {"type": "string"},
        "example": '"sign-in";q=300;w=60',
    },
}

# Of an operation that supports `If-None-Match`.
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `ETag` that you have: if it is still current, the response is 304 without a body.",
}
NOT_MODIFIED = {"description": "Not modified.", "headers": {"ETag": HEADERS["ETag"]}}

LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
_HEADERS_BY_STATUS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", *LIMIT_HEADERS),
    503: ("Retry-After",),
}
_EXAMPLE_REQUEST_ID = "0b8e5f3f1c5d4c7c9a53a1c2b1c0d9ef"

EXAMPLE_OVERRIDES = "x-example-overrides"  # removed when the document is finalized


def responses(
    *kinds: type[TesseraError],
    body: bool = False,
    ok: Mapping[int, tuple[str, ...]] | None = None,
    location: str | None = None,
    example_overrides: Mapping[int, Mapping[str, Any]] | None = None,
    version: int = 1,
) -> dict[int | str, Any]:
    """Make the `responses` of an operation.

    Args:
        kinds: the errors of this operation. The errors that all operations have are added.
        body: whether the operation takes a body. A body can be too large, too slow or malformed.
        ok: the names of the headers of success responses, by status.
        location: the example of the header `Location`, if `ok` names it.
        example_overrides: values for the examples of its success responses, by status, where they differ from the
            examples of the fields.
        version: the version in the example of the header `ETag`.
    """
    titles: dict[int, dict[str, str]] = {}
    body_kinds = (errors.MalformedBody, errors.UnsupportedMediaType) if body else ()
    all_kinds: tuple[type[TesseraError], ...] = (*kinds, *body_kinds, errors.BadInput, errors.Unavailable)
    for kind in all_kinds:
        titles.setdefault(get_status(kind), {})[kind.code] = kind.title
    for status in (400, 408, 413) if body else ():
        code, title = CODES_BY_STATUS[status]
        titles.setdefault(status, {})[code] = title
    for refusal in (URI_TOO_LONG, HEADERS_TOO_LARGE, OVERLOADED, INTERNAL_ERROR):
        titles.setdefault(refusal.status, {})[refusal.code] = refusal.title
    documented: dict[int | str, Any] = {
        status: _make_problem_response(status, titles[status]) for status in sorted(titles)
    }
    for status, names in (ok or {}).items():
        documented[status] = {"headers": {name: HEADERS[name] for name in names}}
        if "ETag" in names and version != 1:
            documented[status]["headers"]["ETag"] = HEADERS["ETag"] | {"example": f'"{version}"'}
        if location:
            documented[status]["headers"]["Location"] = HEADERS["Location"] | {"example": location}
    for status, overrides in (example_overrides or {}).items():
        documented.setdefault(status, {})[EXAMPLE_OVERRIDES] = dict(overrides)
    return documented


def _make_problem_response(status: int, titles: Mapping[str, str]) -> dict[str, Any]:
    examples = {code: {"value": _make_problem_example(status, code, title)} for code, title in titles.items()}
    schema = {"$ref": "#/components/schemas/Problem"}
    response: dict[str, Any] = {
        "description": _describe_codes(examples),
        "content": {PROBLEM_MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }
    if status in _HEADERS_BY_STATUS:
        response["headers"] = {name: HEADERS[name] for name in _HEADERS_BY_STATUS[status]}
    return response


def _make_problem_example(status: int, code: str, title: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": f"urn:tessera:problem:{code}",
        "title": title,
        "status": status,
        "detail": title,
        "code": code,
        "requestId": _EXAMPLE_REQUEST_ID,
    }
    if code == errors.BadInput.code:
        value["detail"] = "title: This is required."
        value["errors"] = [{"field": "title", "message": "This is required."}]
    return value


def _describe_codes(examples: Mapping[str, Any]) -> str:
    lines = [f"`{code}`: {example['value']['title']}" for code, example in examples.items()]
    return lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines)


def document_limits(operation: dict[str, Any]) -> None:
    """Add the headers of a limited operation to all its responses."""
    for response in operation["responses"].values():
        response["headers"] = response.get("headers", {}) | {name: HEADERS[name] for name in LIMIT_HEADERS}


def document_declaration(operation: dict[str, Any], declaration: OperationRequirement | None) -> None:
    """Add the required credentials to an operation, and the errors that a caller without them gets.

    Args:
        declaration: the requirements of the operation; `None` if it needs no credentials.
    """
    if declaration is None:
        operation |= {"security": [], "x-permission": "none"}
        return
    operation["security"] = declaration.credentials
    operation["x-permission"] = declaration.permission or declaration.caller_label
    operation["description"] += f"\n\n{declaration.description}"
    documented = operation["responses"]
    for status, response in responses(*declaration.errors).items():
        present = documented.setdefault(str(status), response)
        examples = present["content"][PROBLEM_MEDIA_TYPE]["examples"]
        examples |= response["content"][PROBLEM_MEDIA_TYPE]["examples"] | examples
        present["description"] = _describe_codes(examples)
    operation["responses"] = dict(sorted(documented.items()))
