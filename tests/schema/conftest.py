"""Databases of their own for tests that change tables, or fill them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from itertools import count

import pytest

from tests.conftest import copy_database
from tests.postgres import TestServer
from tests.schema.catalog import Connection, connected, rolled_back

_numbers = count(1)


def a_name() -> str:
    return f"schema_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"


@pytest.fixture
async def empty(server: TestServer) -> AsyncIterator[TestServer]:
    """A database without any table."""
    name = a_name()
    async with connected(server.at("postgres").superuser_url) as connection:
        await connection.execute(f"CREATE DATABASE {name} OWNER tessera_owner")
        yield server.at(name)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
async def scratch(server: TestServer) -> TestServer:
    """A migrated database, for what is rolled back."""
    name = a_name()
    await copy_database(server, name)
    return server.at(name)


@pytest.fixture
async def superuser(scratch: TestServer) -> AsyncIterator[Connection]:
    """A transaction in it that is rolled back."""
    async with rolled_back(scratch.superuser_url) as connection:
        yield connection
