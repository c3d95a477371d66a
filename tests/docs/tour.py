"""A tour of the service: it calls one operation after the other with the unchanged examples of the document."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.docs.openapi import BY_ID, FORM, JSON_MEDIA, Operation, find_schema_errors, list_examples
from tests.organisation_client import JSON

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Tour:
    """A client that calls operations with their examples. `headers` are its credentials."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.headers: dict[str, str] = {}
        self.called: set[str] = set()

    async def call(self, *operation_ids: str, resource_id: str | None = None) -> Any:
        """Call operations, check that they succeed as documented, and return the last response's content.

        Args:
            resource_id: the id in their path, if it is not the example's.
        """
        content = None
        for operation_id in operation_ids:
            operation = BY_ID[operation_id]
            answer = await self._send(operation, resource_id)
            content = _check_content(operation, answer)
            self.called.add(operation_id)
        return content

    async def expect_refusal(self, operation_id: str, code: str) -> None:
        """Call an operation, and check that it refuses its example with this documented code."""
        operation = BY_ID[operation_id]
        answer = await self._send(operation, None)
        assert answer.is_client_error, f"{operation_id}: {answer.text}"
        assert answer.json()["code"] == code, f"{operation_id}: {answer.text}"
        assert operation.documents(answer.status_code, code), f"{operation_id}: {answer.text}"

    async def _send(self, operation: Operation, resource_id: str | None) -> httpx.Response:
        path, query = operation.path, {}
        for parameter in operation.definition.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", resource_id or parameter["example"])
            elif parameter["required"]:
                query[parameter["name"]] = parameter["schema"]["examples"][0]
        return await self.http.request(
            operation.method, path, params=query or None, headers=self.headers, **_make_body(operation)
        )


def _make_body(operation: Operation) -> JSON:
    if operation.body is None:
        return {}
    ((media_type, media),) = operation.body.items()
    example = list_examples(media)[0]
    if media_type == FORM:
        return {"files": {name: ("example", content) for name, content in example.items()}}
    return {"json": example}


def _check_content(operation: Operation, answer: httpx.Response) -> Any:
    status = operation.success_statuses[0]
    assert answer.status_code == status, f"{operation.id}: {answer.text}"
    definition = operation.definition["responses"][str(status)]
    headers = definition.get("headers", {})
    expected = headers.keys() - {"Link"}  # absent on the last page
    assert {name.lower() for name in expected} <= set(answer.headers)
    if "Location" in headers:
        assert _ID.sub("{id}", answer.headers["location"]) == _ID.sub("{id}", headers["Location"]["example"])
    if "content" not in definition:
        assert answer.content == b""
        return None
    (media_type,) = definition["content"]
    assert answer.headers["content-type"].startswith(media_type)
    if media_type != JSON_MEDIA:
        return answer.text
    assert find_schema_errors(answer.json(), definition["content"][media_type]["schema"], closed=True) == [], (
        operation.id
    )
    return answer.json()
