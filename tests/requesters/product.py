"""A product that lists, creates, changes and merges the requesters of its organisation."""

from __future__ import annotations

from typing import Any

import httpx

from tests.organisation_client import JSON, Desk

MIA, WORK, LEO = "mia@customer.example", "mia.chen@work.example", "leo@customer.example"


class Product:
    """The requesters of an organisation, as its product sees them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def call(self, method: str, path: str, body: JSON | None = None, **params: Any) -> httpx.Response:
        headers = {"X-Org-Secret": self.desk.secret}
        return await self.desk.api.http.request(method, path, json=body, params=params, headers=headers)

    async def create(self, email: str = MIA, **fields: object) -> JSON:
        answer = await self.call("POST", "/requesters", {"email": email, **fields})
        assert answer.status_code in {200, 201}, answer.text
        requester: JSON = answer.json()
        return requester

    async def read(self, requester: JSON) -> JSON:
        answer = await self.call("GET", f"/requesters/{requester['id']}")
        assert answer.status_code == 200, answer.text
        read: JSON = answer.json()
        return read

    async def list(self, **params: Any) -> list[str]:
        answer = await self.call("GET", "/requesters", **params)
        assert answer.status_code == 200, answer.text
        return [one["email"] for one in answer.json()["items"]]

    async def change(self, requester: JSON, **fields: object) -> httpx.Response:
        return await self.call("PATCH", f"/requesters/{requester['id']}", fields)

    async def merge(self, requester: JSON, into: JSON) -> httpx.Response:
        return await self.call("POST", f"/requesters/{requester['id']}/merge", {"into": into["id"]})
