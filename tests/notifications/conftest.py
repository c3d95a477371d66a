"""A mail server for the tests of mail."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.notifications.smtp_relay import Relay, a_relay


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with a_relay(enable_SMTPUTF8=True) as running:
        yield running
