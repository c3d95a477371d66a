"""The mail server, the worker's settings and the state of the outbox for the tests of mails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.core.config import Settings
from app.core.database.pool import Database
from tests.conftest import settings_for
from tests.notifications.scripted_smtp_server import ScriptedSmtpServer, running_scripted_server
from tests.postgres import TestServer
from tests.tickets.rows import skip_earlier_work


@pytest.fixture
async def smtp_server() -> AsyncIterator[ScriptedSmtpServer]:
    async with running_scripted_server(enable_SMTPUTF8=True) as running:
        yield running


@pytest.fixture
def settings(server: TestServer, tmp_path: Path) -> Settings:
    """Return the settings of a worker that writes mail into a folder of this test."""
    return settings_for(server, data_dir=tmp_path)


@pytest.fixture(scope="module")
async def earlier_work_is_skipped(database: Database) -> None:
    """Discard the work that earlier test files left."""
    await skip_earlier_work(database)
