"""Databases, organisations and observations for tests of what lies below the services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import httpx
from asgi_lifespan import LifespanManager
from sqlalchemy import make_url
from starlette.types import ASGIApp

from app.access.services import Services
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.numbering import Numbering
from app.main import create_app
from app.organisations import service as organisations
from tests.conftest import connect, copy_database
from tests.desks import Api
from tests.postgres import TestServer

if TYPE_CHECKING:
    Superuser = asyncpg.Connection[asyncpg.Record]


async def a_copy(server: TestServer, name: str) -> TestServer:
    """An empty, migrated database that no other test file looks into."""
    name = f"{make_url(server.service_url).database}_{name}"
    await copy_database(server, name)
    return server.at(name)


@asynccontextmanager
async def a_superuser(server: TestServer) -> AsyncIterator[Superuser]:
    """A connection that sees all rows, whatever their organisation."""
    connection = await connect(server.superuser_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def a_pool(server: TestServer, **options: object) -> AsyncIterator[Database]:
    """A pool without reactions, unless told otherwise."""
    database = Database(server.service_url, **{"before_commit": Numbering(), **options})  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def a_service(settings: Settings) -> AsyncIterator[tuple[Api, Database]]:
    """The whole service in this process, and the pool that its requests use."""
    app = create_app(settings)
    async with LifespanManager(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield Api(client, settings.secret_key or ""), pool_of(app)


def pool_of(app: ASGIApp) -> Database:
    inner: Any = app
    while not hasattr(inner, "state"):
        inner = inner.app
    services: Services = inner.state.services
    return services.database


async def an_organisation(database: Database, org_id: UUID | None = None) -> UUID:
    """A new organisation without users; its first event is that it signed up."""
    org_id = org_id or uuid4()
    async with database.session(org_id) as db:
        await organisations.sign_up(db, org_id, "Growfin", f"d{org_id.hex}.test", sandbox=True)
    return org_id


async def eventually(condition: Callable[[], Awaitable[object]], within: float = 5.0, every: float = 0.02) -> bool:
    """Whether it comes to be so within this many seconds."""
    deadline = time.monotonic() + within
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True


async def open_transactions(superuser: Superuser) -> int:
    """How many of the service's connections to this database are in a transaction."""
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
              AND usename = 'tessera_service'
    """
    return int(await superuser.fetchval(sql))
