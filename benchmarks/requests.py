"""The measured requests, with many different ids and customers, so that caches do not help by chance."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import quote
from uuid import UUID

import orjson

from app.authentication.sessions.rules import SESSION_LIFETIME
from app.core.clock import real_now
from app.core.ids import new_id
from app.core.security.access_tokens import issue_access_token
from benchmarks.copies import Organisation
from benchmarks.data import WEEKS, Dataset, all_organisations, connected

READ, LIST, SEARCH, CREATE, COMMON = "read", "list", "search", "create", "common"
REQUEST_COUNT = 5000  # at least one for each organisation
PAGE = 20  # tickets, the service's default

_SESSION = """
    INSERT INTO sessions (org_id, id, user_id, refresh_hash, remembered, device, address, created_at, last_used_at,
                          expires_at)
    VALUES ($1, $2, $3, '', false, '', '', $4, $4, $5)
"""

_IDS = "SELECT org_id, id FROM tickets WHERE org_id = ANY($1) AND number = ANY($2)"

# Search texts and their frequencies: mostly a single ticket, then those of a customer, some, and many.
SEARCHES = {
    "Ticket {number}": 5,
    "{number}": 2,
    "customer{customer}": 1,
    "report of week {week}": 1,
    "export report": 1,
}

# Words that all tickets, or one in 53, have.
COMMON_SEARCHES = {"export": 1, "the report": 1, "week {week}": 1}

DESCRIPTION = "The export of March stops at 40 % with an error. " * 6


@dataclass(frozen=True)
class Request:
    """A request of a product or a user of the organisation `org_id`."""

    org_id: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def serialise(self, port: int) -> bytes:
        """Return the request as sent over the wire (RFC 9112)."""
        headers = {"Host": f"127.0.0.1:{port}", **self.headers}
        if self.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def make(data: Dataset, secret_key: str, operation: str) -> list[Request]:
    """Return requests for an operation: the same in every run, except for tokens and ids."""
    rng = random.Random(operation)
    count = max(REQUEST_COUNT, len(data.organisations))
    senders = [one for _, one in zip(range(count), cycle(data.organisations), strict=False)]
    rng.shuffle(senders)
    if operation == CREATE:
        return [_create(one, rng.randint(1, data.customers)) for one in senders]
    headers = asyncio.run(_sign_in_admins(data, secret_key))
    if operation == LIST:
        return [_list(one, headers[one.id], rng.randint(1, data.customers)) for one in senders]
    if operation in {SEARCH, COMMON}:
        forms = SEARCHES if operation == SEARCH else COMMON_SEARCHES
        return [_search(one, headers[one.id], _search_text(data, rng, forms)) for one in senders]
    ids = asyncio.run(_ids(data, rng))
    return [Request(one.id, "GET", f"/tickets/{rng.choice(ids[one.id])}", headers[one.id]) for one in senders]


def _create(organisation: Organisation, customer: int) -> Request:
    body = {
        "title": "Cannot export March",
        "description": DESCRIPTION,
        "requester": {"email": organisation.customer(customer)},
        "priority": "HIGH",
        "secret": organisation.secret,
    }
    return Request(organisation.id, "POST", "/tickets", body=orjson.dumps(body))


def _list(organisation: Organisation, headers: dict[str, str], customer: int) -> Request:
    path = f"/tickets?status=OPEN&requester={organisation.customer(customer)}"
    return Request(organisation.id, "GET", path, headers)


def _search_text(data: Dataset, rng: random.Random, forms: dict[str, int]) -> str:
    (form,) = rng.choices(list(forms), list(forms.values()))
    return form.format(
        number=rng.randint(1, data.tickets), customer=rng.randint(1, data.customers), week=rng.randrange(WEEKS)
    )


def _search(organisation: Organisation, headers: dict[str, str], text: str) -> Request:
    return Request(organisation.id, "GET", f"/tickets?q={quote(text)}", headers)


async def _sign_in_admins(data: Dataset, secret_key: str) -> dict[str, dict[str, str]]:
    """Sign in an admin of each organisation for a day; return the headers by organisation."""
    headers: dict[str, dict[str, str]] = {}
    sessions = []
    for one in data.organisations:
        org_id, user_id, session_id, now = UUID(one.id), UUID(one.admins[0]), new_id(), real_now()
        sessions.append((org_id, session_id, user_id, now, now + SESSION_LIFETIME))
        token = issue_access_token(
            secret_key,
            user_id=user_id,
            org_id=org_id,
            session_id=session_id,
            role="ADMIN",
            now=now,
            session_expires_at=now + SESSION_LIFETIME,
        )
        headers[one.id] = {"Authorization": f"Bearer {token}"}
    async with connected(data.address) as connection, all_organisations(connection):
        await connection.executemany(_SESSION, sessions)
    return headers


async def _ids(data: Dataset, rng: random.Random) -> dict[str, Sequence[UUID]]:
    """Return the ids of some tickets of each organisation."""
    numbers = sorted({rng.randint(1, data.tickets) for _ in range(REQUEST_COUNT // 10)})
    found: dict[str, list[UUID]] = defaultdict(list)
    async with connected(data.address) as connection, all_organisations(connection):
        for row in await connection.fetch(_IDS, [one.id for one in data.organisations], numbers):
            found[str(row["org_id"])].append(row["id"])
    return dict(found)
