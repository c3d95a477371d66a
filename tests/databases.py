"""Databases, organisations and checks for tests below the HTTP API."""

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
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp

from app.access.services import Services
from app.core.config import Settings
from app.core.database.pool import Database
from app.core.outbox.models import Counter
from app.core.outbox.numbering import Numbering
from app.main import create_app
from app.organisations import service as organisations
from tests.conftest import connect, copy_database
from tests.organisation_client import Api
from tests.postgres import TestServer

if TYPE_CHECKING:
    Superuser = asyncpg.Connection[asyncpg.Record]


async def create_test_database(server: TestServer, name: str) -> TestServer:
    """Create an empty, migrated database for one test file."""
    name = f"{make_url(server.service_url).database}_{name}"
    await copy_database(server, name)
    return server.at(name)


@asynccontextmanager
async def superuser_connection(server: TestServer) -> AsyncIterator[Superuser]:
    """Open a connection that sees the rows of all organisations."""
    connection = await connect(server.superuser_url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def open_pool(server: TestServer, **options: object) -> AsyncIterator[Database]:
    """Open a pool whose commits number events. They run no reactions unless `before_commit` is given."""
    database = Database(server.service_url, **{"before_commit": Numbering(), **options})  # type: ignore[arg-type]
    try:
        yield database
    finally:
        await database.dispose()


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[tuple[Api, Database]]:
    """Run the whole service in this process; yield a client and the pool of its requests."""
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


async def create_organisation(database: Database, org_id: UUID | None = None) -> UUID:
    """Create an organisation without users. Its first event is its sign-up."""
    org_id = org_id or uuid4()
    async with database.session(org_id) as db:
        await organisations.sign_up(db, org_id, "Growfin", f"d{org_id.hex}.test", sandbox=True)
    return org_id


async def ensure_counter(db: AsyncSession, org_id: UUID) -> None:
    """Give an organisation its counter. The worker finds organisations by their counters."""
    await db.execute(insert(Counter).values(org_id=org_id).on_conflict_do_nothing())


async def eventually(condition: Callable[[], Awaitable[object]], within: float = 5.0, every: float = 0.02) -> bool:
    """Return whether the condition becomes true within this many seconds."""
    deadline = time.monotonic() + within
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(every)
    return True


async def count_open_transactions(superuser: Superuser) -> int:
    """Count the service's connections to this database that are in a transaction."""
    sql = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
              AND usename = 'tessera_service'
    """
    return int(await superuser.fetchval(sql))
