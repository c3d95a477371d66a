"""Fixtures of the tests of the outbox: an SMTP server, the channel of mails, and an organisation without events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.outbox.channels import Channels
from app.core.outbox.subscriptions import Subscribers
from tests.core.outbox.queued_mails import make_channels
from tests.databases import create_organisation
from tests.smtp_server import SmtpServer, running_smtp_server


@pytest.fixture
async def smtp_server() -> AsyncIterator[SmtpServer]:
    async with running_smtp_server() as smtp_server:
        yield smtp_server


@pytest.fixture
def channels(smtp_server: SmtpServer) -> Channels:
    return make_channels(smtp_server)


@pytest.fixture
async def org_id(pool: Database) -> UUID:
    """An organisation. All events so far are relayed."""
    org_id = await create_organisation(pool)
    await relay.relay_new_events(pool, Subscribers())
    return org_id
