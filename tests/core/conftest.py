"""Fixtures of the tests of core: databases, a server behind the edge, and folders for an embedded PostgreSQL."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import delete

from app.core.database.pool import Database
from app.core.embedded import start
from app.core.outbox.models import Timer
from tests.core.embedded.embedded_server import temporary_folder
from tests.core.web.edge_server import Server, make_app, serving
from tests.databases import create_test_database, open_pool, superuser_connection
from tests.postgres import TestServer

if TYPE_CHECKING:
    from tests.databases import Superuser

# --- databases -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def own_database(server: TestServer, request: pytest.FixtureRequest) -> TestServer:
    """A database for this test file alone."""
    return await create_test_database(server, request.module.__name__.rpartition("test_")[2])


@pytest.fixture(scope="module")
async def superuser(own_database: TestServer) -> AsyncIterator[Superuser]:
    async with superuser_connection(own_database) as connection:
        yield connection


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    """The service's pool, without the timers of earlier tests."""
    async with open_pool(own_database) as database:
        async with database.session(None) as db:
            await db.execute(delete(Timer))
        yield database


# --- a server behind the edge ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving(make_app(), max_body_bytes=4096) as running:
        yield running


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """The captured log lines. Every test of the edge uses it, since writing a traceback in colour takes a second."""
    with structlog.testing.capture_logs() as captured:
        yield captured


# --- an embedded PostgreSQL ------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for DATA_DIR that any user may enter, unlike pytest's own folders."""
    with temporary_folder() as path:
        yield path


@pytest.fixture(scope="session")
def cluster_folder() -> Iterator[Path]:
    """A folder with a cluster. Creating a cluster takes seconds, and copying it does not."""
    with temporary_folder() as path:
        start(path, durable=False).stop()
        yield path


@pytest.fixture
def used_folder(folder: Path, cluster_folder: Path) -> Path:
    subprocess.run(["cp", "-a", cluster_folder, folder], check=True)
    return folder
