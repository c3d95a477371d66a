"""Services with specific settings, and clients with specific addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

import httpx
import pytest
from asgi_lifespan import LifespanManager
from sqlalchemy import update
from starlette.types import ASGIApp

from app.accounts.users.models import Credential
from app.authentication.second_factor.codes import SubmittedCode
from app.authentication.sessions.rules import DEFAULT_MAX_AGE
from app.authentication.sessions.service import ClientInfo
from app.authentication.sign_in import service as sign_in
from app.authentication.sign_in.service import Account
from app.main import create_app
from tests.conftest import SECRET_KEY, settings_for
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_admin
from tests.passwords import cheap_hash
from tests.postgres import TestServer

ADDRESS = "192.0.2.1"


def unique_email() -> str:
    """Return an unused e-mail."""
    return f"p{uuid4().hex}@growfin.test"


async def create_user(desk: Desk, email: str | None = None, password: str = PASSWORD) -> SignedInUser:
    """Create an admin whose password is fast to verify."""
    user = await create_admin(desk, email or unique_email())
    await change_password(desk, user.id, password)
    return user


async def change_password(desk: Desk, user_id: UUID, password: str) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (Credential.org_id == desk.id, Credential.user_id == user_id)
        await db.execute(update(Credential).where(*conditions).values(password_hash=cheap_hash(password)))


async def account_of(desk: Desk, email: str) -> Account:
    """Return the account with this e-mail and the tests' password, as a sign-in finds it."""
    matches = await sign_in.match_accounts(desk.database, email, PASSWORD, None)
    return await sign_in.choose_account(desk.database, matches, None)


async def finish_sign_in(desk: Desk, account: Account) -> None:
    """Do what a sign-in without a second-factor code does after it has compared the password."""
    async with desk.database.session(desk.id) as db:
        locked = await sign_in.lock_account(db, account)
        client = ClientInfo(device="", address="")
        await sign_in.sign_in(db, desk.api.secret_key, locked, client, SubmittedCode(), max_age=DEFAULT_MAX_AGE)


@dataclass(frozen=True)
class Service:
    """A running service."""

    app: ASGIApp

    def at(self, address: str) -> httpx.AsyncClient:
        """Return a client that connects from this address."""
        # Not the app of LifespanManager, which gives all requests the same state; no server does that.
        transport = httpx.ASGITransport(app=self.app, client=(address, 50_000))
        return httpx.AsyncClient(transport=transport, base_url="http://tessera.test")

    @property
    def api(self) -> Api:
        return Api(self.at(ADDRESS), SECRET_KEY)


class Start(Protocol):
    """Starts a service with these settings."""

    async def __call__(self, **settings: Any) -> Service: ...


@pytest.fixture
async def start(server: TestServer) -> AsyncIterator[Start]:
    async with AsyncExitStack() as running:

        async def begin(**settings: Any) -> Service:
            app = create_app(settings_for(server, **settings))
            await running.enter_async_context(LifespanManager(app))
            return Service(app)

        yield begin


@pytest.fixture(scope="module")
async def api(server: TestServer) -> AsyncIterator[Api]:
    """A service for concurrent requests."""
    app = create_app(settings_for(server))
    async with LifespanManager(app):
        service = Service(app)
        yield service.api
