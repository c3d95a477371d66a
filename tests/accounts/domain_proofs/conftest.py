"""Fixtures of the tests of proofs: a name server, a service that asks it, and two organisations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager

from app.core.config import Settings
from app.core.database.pool import Database
from app.main import create_app
from tests.conftest import SECRET_KEY, settings_for
from tests.dns_server import DnsServer, running_dns_server
from tests.organisation_client import Api, Desk, create_desk
from tests.postgres import TestServer
from tests.services import start
from tests.tickets.rows import skip_earlier_work

__all__ = ["start"]


@pytest.fixture(scope="module")
async def dns_server() -> AsyncIterator[DnsServer]:
    async with running_dns_server() as running:
        yield running


@pytest.fixture(scope="module")
async def api(server: TestServer, dns_server: DnsServer, database: Database) -> AsyncIterator[Api]:
    """A service that asks the test's name server."""
    await skip_earlier_work(database)
    app = create_app(settings_for(server, dns_server=dns_server.address))
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test") as client,
    ):
        yield Api(client, SECRET_KEY)


@pytest.fixture
async def desk(api: Api, database: Database) -> Desk:
    """An organisation whose credentials are cached: those of sandboxes are not."""
    return await create_desk(api, database, sandbox=False)


@pytest.fixture
async def rival(api: Api, database: Database) -> Desk:
    """Another organisation whose credentials are cached."""
    return await create_desk(api, database, sandbox=False, name="Rival")


@pytest.fixture
def settings(server: TestServer, tmp_path: Path) -> Settings:
    return settings_for(server, data_dir=tmp_path)
