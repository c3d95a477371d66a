"""The mail server for the tests of mails."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.notifications.scripted_smtp_server import ScriptedSmtpServer, running_scripted_server


@pytest.fixture
async def smtp_server() -> AsyncIterator[ScriptedSmtpServer]:
    async with running_scripted_server(enable_SMTPUTF8=True) as running:
        yield running
