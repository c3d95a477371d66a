"""Fixtures of all tests: one PostgreSQL, a separate database for each test process, and the service on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncpg
import httpx
import pytest
import structlog
from asgi_lifespan import LifespanManager
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker

from app import wiring
from app.core.config import Settings
from app.core.database.pool import BEFORE_COMMIT, Database
from app.core.security import password_hashing, password_strength
from app.main import create_app
from tests.organisation_client import Api, Desk, create_desk
from tests.postgres import TEMPLATE, TestServer, running_postgres
from tests.statement_recorder import start_recording, take_violations

SECRET_KEY = "tests-only-VrZ3kq8WmT1xuYbE6hNsLoJ0cDf7gPa"

_server = ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres", type=Path, help="folder with the programs of the PostgreSQL installation to test with"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Plain tracebacks, as in the service: rendering all variables takes seconds.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    start_recording()
    # Only in the process that distributes the tests: the others read the URLs from the environment.
    if not hasattr(config, "workerinput"):
        _server.enter_context(running_postgres(config.getoption("--postgres"))).export()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _server.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker("database")


@pytest.fixture(autouse=True)
def every_statement_keeps_the_rules_for_citus() -> Iterator[None]:
    yield
    assert take_violations() == []


@pytest.fixture(scope="session")
async def server() -> TestServer:
    """The server, with a separate database for this test process."""
    shared = TestServer.from_environment()
    name = f"test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    await copy_database(shared, name)
    return shared.at(name)


async def copy_database(server: TestServer, name: str) -> None:
    """Create an empty, migrated database. The lock serialises concurrent copies of the template."""
    connection = await connect(server.at("postgres").superuser_url)
    try:
        await connection.execute("SELECT pg_advisory_lock(1)")
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER tessera_owner")
    finally:
        await connection.close()


async def connect(url: str) -> asyncpg.Connection[asyncpg.Record]:
    """Open a plain asyncpg connection."""
    return await asyncpg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.fixture(scope="session")
async def database(server: TestServer) -> AsyncIterator[Database]:
    """The service's pool. Commits persist, so each test uses its own organisation."""
    database = Database(server.service_url, before_commit=wiring.NUMBERING)
    yield database
    await database.dispose()


@pytest.fixture(scope="session")
async def connection(server: TestServer) -> AsyncIterator[AsyncConnection]:
    """The connection of `db`."""
    database = Database(server.service_url, pool_size=1)
    async with database.engine.connect() as connection:
        yield connection
    await database.dispose()


@pytest.fixture
async def db(connection: AsyncConnection) -> AsyncIterator[AsyncSession]:
    """A transaction that is rolled back at the end."""
    transaction = await connection.begin()
    info = {BEFORE_COMMIT: wiring.NUMBERING}
    make_session = async_sessionmaker(
        connection, expire_on_commit=False, join_transaction_mode="create_savepoint", info=info
    )
    async with make_session() as session:
        yield session
    await transaction.rollback()


def settings_for(server: TestServer, **changes: object) -> Settings:
    """Return the settings of a service on this server."""
    values: dict[str, object] = {
        "database_url": server.service_url,
        "secret_key": SECRET_KEY,
        "worker": "off",
        "sign_up_limit": "100000/minute",
        "sign_in_limit": "100000/minute",
    }
    return Settings.model_validate(values | changes)


@pytest.fixture(scope="session")
async def api(server: TestServer) -> AsyncIterator[Api]:
    """The whole service in this process, without a worker: call `Desk.work` instead."""
    app = create_app(settings_for(server))
    async with LifespanManager(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
            yield Api(client, SECRET_KEY)


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """A new organisation with a signed-in admin."""
    return await create_desk(api, database)


@pytest.fixture(scope="session", autouse=True)
def _warm_up_passwords() -> None:
    password_hashing.warm_up()
    password_strength.load_common_passwords()
