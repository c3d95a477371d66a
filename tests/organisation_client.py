"""HTTP clients of the API: without a credential, of a user, and of an organisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import httpx
from passlib.hash import argon2

from app import wiring
from app.access.callers import ProductCaller
from app.accounts.sign_up.service import sign_up_admin
from app.accounts.users.creation import NewUser
from app.accounts.users.models import User as UserRow
from app.authentication.sessions import service as sessions
from app.authentication.sessions.service import ClientInfo
from app.core.clock import real_now
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox import relay, timers
from app.organisations import service as organisations
from app.organisations.queries import as_tenant
from tests.delivering import deliver_due

PASSWORD = "cobalt-heron-47-lamp"
JSON = dict[str, Any]


@cache
def _password_hash() -> str:
    return str(argon2.hash(PASSWORD))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Api:
    """The service, for requests without a credential."""

    http: httpx.AsyncClient
    secret_key: str


@dataclass(frozen=True)
class SignedInUser:
    """A user with a session."""

    id: UUID
    email: str
    http: httpx.AsyncClient
    headers: dict[str, str]
    session_id: UUID

    async def get(self, path: str, **arguments: Any) -> httpx.Response:
        return await self.http.get(path, headers=self.headers, **arguments)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.headers | headers)

    async def put(self, path: str, body: object, **headers: str) -> httpx.Response:
        return await self.http.put(path, json=body, headers=self.headers | headers)

    async def delete(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.delete(path, headers=self.headers | headers)

    async def patch(self, path: str, body: object, **headers: str) -> httpx.Response:
        return await self.http.patch(path, json=body, headers=self.headers | headers)


@dataclass(frozen=True)
class Desk:
    """The client of an organisation: its secret key and a signed-in admin."""

    id: UUID
    domain: str
    secret: str
    admin: SignedInUser
    api: Api
    database: Database

    async def open(self, **fields: object) -> JSON:
        """Open a ticket with the secret key, as the organisation's product."""
        requester = {} if "addedBy" in fields else {"requester": {"email": "mia@customer.example"}}
        body = {"title": "It broke", "description": "All of it.", **requester, **fields}
        answer = await self.api.http.post("/tickets", json=body, headers={"X-Org-Secret": self.secret})
        assert answer.status_code == 201, answer.text
        ticket: JSON = answer.json()
        return ticket

    async def respond(self, ticket: JSON, message: str = "Fixed.") -> JSON:
        answer = await self.admin.post(f"/tickets/{ticket['id']}/respond", {"message": message})
        assert answer.status_code == 201, answer.text
        response: JSON = answer.json()
        return response

    async def read(self, ticket: JSON) -> JSON:
        answer = await self.admin.get(f"/tickets/{ticket['id']}")
        assert answer.status_code == 200, answer.text
        read: JSON = answer.json()
        return read

    async def history(self, ticket: JSON) -> list[JSON]:
        answer = await self.admin.get(f"/tickets/{ticket['id']}/history", params={"limit": 100})
        items: list[JSON] = answer.json()["items"]
        return items

    async def another_admin(self, email: str = "bo@growfin.test", *, available: bool = True) -> SignedInUser:
        return await create_admin(self, email, available=available)

    async def work(self, settings: Settings) -> None:
        """Run the worker's jobs `timers`, `relay` and `deliver` once, for all organisations."""
        await timers.run_due(self.database, wiring.TIMERS)
        await relay.relay_new_events(self.database, wiring.SUBSCRIBERS)
        await deliver_due(self.database, wiring.make_channels(settings))


async def create_desk(
    api: Api, database: Database, *, sandbox: bool = True, name: str = "Growfin", org_id: UUID | None = None
) -> Desk:
    """Sign up an organisation and its first admin through the services. All test users share one password hash."""
    org_id, domain = org_id or uuid4(), f"d{uuid4().hex}.test"
    async with database.session(org_id) as db:
        _, secret = await organisations.sign_up(db, org_id, name, domain, sandbox=sandbox)
    # `create_admin` needs a desk, which needs an admin.
    placeholder = SignedInUser(org_id, "", api.http, {}, org_id)
    desk = Desk(org_id, domain, secret, placeholder, api, database)
    return Desk(org_id, domain, secret, await create_admin(desk, "ada@growfin.test"), api, database)


async def create_admin(desk: Desk, email: str, *, available: bool = True) -> SignedInUser:
    """Sign up an admin and open a session."""
    async with desk.database.session(desk.id) as db:
        tenant = as_tenant(await organisations.get_organisation(db, desk.id))
        caller = ProductCaller(tenant=tenant, now=tenant.now())
        user = await sign_up_admin(db, caller, NewUser("Ada", "Lovelace", email), _password_hash())
        user.available = available
    return await open_session(desk, user)


async def open_session(desk: Desk, user: UserRow) -> SignedInUser:
    """Open a session for a user, without a password."""
    client = ClientInfo(device="a test", address="192.0.2.7")
    async with desk.database.session(desk.id) as db:
        tokens = sessions.open_session(db, desk.api.secret_key, user, client, real_now())
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    return SignedInUser(user.id, user.email, desk.api.http, headers, tokens.session.id)
