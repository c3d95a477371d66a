"""Assertions about problem documents."""

from __future__ import annotations

from typing import Any

import httpx

BEARER, ORG_SECRET = 'Bearer realm="tessera"', 'OrgSecret realm="tessera"'
CHALLENGES = {BEARER, ORG_SECRET, f"{BEARER}, {ORG_SECRET}"}
KEYS = {"type", "title", "status", "detail", "code", "requestId"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is a problem document (RFC 9457) with this status and code, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document.keys() - {"errors"} == KEYS
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == f"urn:tessera:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["requestId"] == answer.headers["x-request-id"]
    if status == 401:
        assert answer.headers["www-authenticate"] in CHALLENGES
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    return document


def read_invalid_fields(answer: httpx.Response, code: str = "invalid_input") -> set[str]:
    """Return the names of the invalid fields of a response, which must be a 422 with this code."""
    errors: list[dict[str, str]] = assert_problem(answer, 422, code).get("errors", [])
    assert all(error.keys() == {"field", "message"} and error["message"] for error in errors)
    return {error["field"] for error in errors}
