"""The requests that are measured, with many different ids and customers, so that nothing stays in a cache by chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson

from app.core.clock import real_now
from app.core.security import issue_access_token
from benchmarks.data import Dataset, Organisation, connected, execute

READ, LIST, CREATE = "read", "list", "create"
HOW_MANY = 5000
PAGE = 20  # tickets, the service's default

DESCRIPTION = "The export of March stops at 40 % with an error. " * 6


@dataclass(frozen=True)
class Request:
    """A request of a product or a person of `org_id`."""

    org_id: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def written_out(self, port: int) -> bytes:
        """The request as it goes over the wire (RFC 9112)."""
        headers = {"Host": f"127.0.0.1:{port}", **self.headers}
        if self.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def make(data: Dataset, secret_key: str, operation: str) -> list[Request]:
    """A list of requests for an operation, the same in every run but for tokens and ids."""
    chance = random.Random(operation)
    who = [chance.choice(data.organisations) for _ in range(HOW_MANY)]
    if operation == CREATE:
        return [_create(one, chance.randint(1, data.customers)) for one in who]
    headers = {one.id: _token(one, secret_key) for one in data.organisations}
    if operation == LIST:
        return [_list(one, headers[one.id], chance.randint(1, data.customers)) for one in who]
    ids = asyncio.run(_ids(data, chance))
    return [Request(one.id, "GET", f"/tickets/{chance.choice(ids[one.id])}", headers[one.id]) for one in who]


def _create(organisation: Organisation, customer: int) -> Request:
    body = {
        "title": "Cannot export March",
        "description": DESCRIPTION,
        "addedBy": organisation.customer(customer),
        "priority": "HIGH",
        "secret": organisation.secret,
    }
    return Request(organisation.id, "POST", "/tickets", body=orjson.dumps(body))


def _list(organisation: Organisation, headers: dict[str, str], customer: int) -> Request:
    path = f"/tickets?status=OPEN&customerEmail={organisation.customer(customer)}"
    return Request(organisation.id, "GET", path, headers)


def _token(organisation: Organisation, secret_key: str) -> dict[str, str]:
    token = issue_access_token(
        secret_key, person_id=UUID(organisation.admins[0]), org_id=UUID(organisation.id), now=real_now()
    )
    return {"Authorization": f"Bearer {token}"}


async def _ids(data: Dataset, chance: random.Random) -> dict[str, Sequence[UUID]]:
    """Ids of some tickets of each organisation."""
    found: dict[str, Sequence[UUID]] = {}
    async with connected(data.address) as connection:
        for one in data.organisations:
            numbers = [chance.randint(1, data.tickets) for _ in range(HOW_MANY // 10)]
            async with connection.transaction():
                await execute(connection, one.id)
                sql = "SELECT id FROM tickets WHERE org_id = $1 AND number = ANY($2)"
                found[one.id] = [row["id"] for row in await connection.fetch(sql, one.id, numbers)]
    return found
