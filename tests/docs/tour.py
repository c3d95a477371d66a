"""A tour of the service: one operation after the other, each with its example as it stands."""

from __future__ import annotations

import re
from typing import Any

import httpx

from tests.docs.openapi import BY_ID, FORM, JSON_MEDIA, Operation, examples, mistakes
from tests.organisation_client import JSON

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Tour:
    """Somebody who tries operations out; `headers` are their credentials."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.headers: dict[str, str] = {}
        self.gone: set[str] = set()

    async def go(self, *operation_ids: str, thing: str | None = None) -> Any:
        """Try these out, which must answer as documented; returns what the last one answers.

        Args:
            thing: the id in their address; without one, the example's.
        """
        content = None
        for operation_id in operation_ids:
            operation = BY_ID[operation_id]
            answer = await self._send(operation, thing)
            content = _content(operation, answer)
            self.gone.add(operation_id)
        return content

    async def is_refused(self, operation_id: str, code: str) -> None:
        """Try one out that must refuse, as documented: its example names what nobody has."""
        operation = BY_ID[operation_id]
        answer = await self._send(operation, None)
        assert answer.is_client_error, f"{operation_id}: {answer.text}"
        assert answer.json()["code"] == code, f"{operation_id}: {answer.text}"
        assert operation.documents(answer.status_code, code), f"{operation_id}: {answer.text}"

    async def _send(self, operation: Operation, thing: str | None) -> httpx.Response:
        path, query = operation.path, {}
        for parameter in operation.said.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", thing or parameter["example"])
            elif parameter["required"]:
                query[parameter["name"]] = parameter["schema"]["examples"][0]
        return await self.http.request(
            operation.method, path, params=query or None, headers=self.headers, **_body_of(operation)
        )


def _body_of(operation: Operation) -> JSON:
    if operation.body is None:
        return {}
    ((media_type, media),) = operation.body.items()
    example = examples(media)[0]
    if media_type == FORM:
        return {"files": {name: ("example", content) for name, content in example.items()}}
    return {"json": example}


def _content(operation: Operation, answer: httpx.Response) -> Any:
    status = operation.good[0]
    assert answer.status_code == status, f"{operation.id}: {answer.text}"
    said = operation.said["responses"][str(status)]
    headers = said.get("headers", {})
    always = headers.keys() - {"Link"}  # only where there is a next page
    assert {name.lower() for name in always} <= set(answer.headers)
    if "Location" in headers:
        assert _ID.sub("{id}", answer.headers["location"]) == _ID.sub("{id}", headers["Location"]["example"])
    if "content" not in said:
        assert answer.content == b""
        return None
    (media_type,) = said["content"]
    assert answer.headers["content-type"].startswith(media_type)
    if media_type != JSON_MEDIA:
        return answer.text
    assert mistakes(answer.json(), said["content"][media_type]["schema"], closed=True) == [], operation.id
    return answer.json()
