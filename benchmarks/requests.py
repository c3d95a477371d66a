"""The requests that are measured, with many different ids and customers, so that nothing stays in a cache by chance."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote
from uuid import UUID

import orjson

from app.authentication.sessions.service import LIFETIME
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.security.access_tokens import issue_access_token
from benchmarks.data import WEEKS, Dataset, Organisation, connected, execute

READ, LIST, SEARCH, CREATE = "read", "list", "search", "create"
HOW_MANY = 5000
PAGE = 20  # tickets, the service's default

_SESSION = """
    INSERT INTO sessions (org_id, id, user_id, refresh_hash, remembered, device, address, created_at, last_used_at,
                          expires_at)
    VALUES ($1, $2, $3, '', false, '', '', $4, $4, $5)
"""

# What is looked for, and how often: mostly one ticket, then those of a customer, a few among many, and many.
SEARCHES = {
    "Ticket {number}": 5,
    "{number}": 2,
    "customer{customer}": 1,
    "report of week {week}": 1,
    "export report": 1,
}

DESCRIPTION = "The export of March stops at 40 % with an error. " * 6


@dataclass(frozen=True)
class Request:
    """A request of a product or a user of `org_id`."""

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
    headers = asyncio.run(_signed_in(data, secret_key))
    if operation == LIST:
        return [_list(one, headers[one.id], chance.randint(1, data.customers)) for one in who]
    if operation == SEARCH:
        return [_search(one, headers[one.id], _looked_for(data, chance)) for one in who]
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


def _looked_for(data: Dataset, chance: random.Random) -> str:
    (form,) = chance.choices(list(SEARCHES), list(SEARCHES.values()))
    return form.format(
        number=chance.randint(1, data.tickets), customer=chance.randint(1, data.customers), week=chance.randrange(WEEKS)
    )


def _search(organisation: Organisation, headers: dict[str, str], text: str) -> Request:
    return Request(organisation.id, "GET", f"/tickets?q={quote(text)}", headers)


async def _signed_in(data: Dataset, secret_key: str) -> dict[str, dict[str, str]]:
    """The headers of an admin of each organisation, signed in for the day."""
    headers: dict[str, dict[str, str]] = {}
    async with connected(data.address) as connection:
        for one in data.organisations:
            org_id, user_id, session_id, now = UUID(one.id), UUID(one.admins[0]), new_id(), real_now()
            session = (org_id, session_id, user_id, now, now + LIFETIME)
            await execute(connection, one.id, (_SESSION, session))
            token = issue_access_token(
                secret_key, user_id=user_id, org_id=org_id, session_id=session_id, role="ADMIN", now=now
            )
            headers[one.id] = {"Authorization": f"Bearer {token}"}
    return headers


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
