"""Separate databases for tests that change or fill tables."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from itertools import count

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.pool import Database
from app.core.outbox.numbering import Numbering
from tests.conftest import copy_database
from tests.postgres import TestServer
from tests.schema.catalog import Connection, connected, rolled_back
from tests.schema.plans import FILL, ORG, ORGANISATIONS, OTHERS, START, TICKETS, USERS, recording_statements

_numbers = count(1)


def make_name() -> str:
    return f"schema_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"


@pytest.fixture
async def empty(server: TestServer) -> AsyncIterator[TestServer]:
    """A database without any table."""
    name = make_name()
    async with connected(server.at("postgres").superuser_url) as connection:
        await connection.execute(f"CREATE DATABASE {name} OWNER tessera_owner")
        yield server.at(name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
async def scratch(server: TestServer) -> TestServer:
    """A migrated database for transactions that are rolled back."""
    name = make_name()
    await copy_database(server, name)
    return server.at(name)


@pytest.fixture
async def superuser(scratch: TestServer) -> AsyncIterator[Connection]:
    """A superuser's transaction in `scratch` that is rolled back."""
    async with rolled_back(scratch.superuser_url) as connection:
        yield connection


@pytest.fixture(scope="session")
async def filled(server: TestServer) -> TestServer:
    """A database with 25,000 tickets of five organisations, and all that belongs to them."""
    name = make_name()
    await copy_database(server, name)
    numbers = {"organisations": ORGANISATIONS, "tickets": TICKETS, "users": USERS, "all": OTHERS, "start": START}
    async with connected(server.at(name).superuser_url) as connection:
        await connection.execute(FILL.format(**numbers))
        await connection.execute("VACUUM ANALYZE")
    return server.at(name)


@pytest.fixture
async def service_connection(filled: TestServer) -> AsyncIterator[Connection]:
    """A transaction of the service in one of the organisations of `filled`."""
    async with rolled_back(filled.service_url) as connection:
        await connection.execute(f"SET LOCAL app.org_id = '{ORG}'")
        yield connection


@pytest.fixture
async def session(filled: TestServer) -> AsyncIterator[tuple[AsyncSession, list[tuple[str, Sequence[object]]]]]:
    """A session of the service that is rolled back, and the statements that it sends."""
    database = Database(filled.service_url, pool_size=1, before_commit=Numbering())
    with recording_statements(database) as sent_statements:
        async with database.session(ORG) as db:
            yield db, sent_statements
            db.info.clear()
            await db.rollback()
    await database.dispose()
