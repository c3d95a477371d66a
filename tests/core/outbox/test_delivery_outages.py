"""Deliveries of a worker that is killed, stopped, or loses the database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from app.core.database.pool import Database
from app.core.outbox import delivery_claims
from app.core.outbox.channels import Channels, Outcome, Result
from app.core.outbox.delivery_claims import LEASE_DURATION
from app.core.outbox.delivery_outcomes import decide_outcome, record_attempts
from app.core.outbox.delivery_turns import DELIVERIES_PER_BATCH
from app.core.outbox.models import DeliveryStatus
from app.notifications.channel import DEFAULT_CONNECTIONS
from app.notifications.mails import EMAIL
from tests.core.outbox.queued_mails import (
    SECOND,
    make_addresses,
    make_channels,
    make_due,
    queue_mails,
    read_deliveries,
    read_single_delivery,
    read_waits,
)
from tests.databases import eventually, open_pool, superuser_connection
from tests.delivering import deliver_due
from tests.smtp_server import SmtpServer

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer


# --- a killed worker, a lost database --------------------------------------------------------------------------------


async def test_a_delivery_of_a_killed_worker_is_sent_again_with_the_same_message_id(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    """The worker is killed after the mail server accepted the mail and before the outcome is recorded.

    A mail is sent twice only in this case.
    """
    org_id = await queue_mails(pool, "mia@customer.example")
    (claim,) = await delivery_claims.claim_deliveries(pool, org_id, channels, limit=DELIVERIES_PER_BATCH)
    async with channels["EMAIL"].open() as sender:
        await sender.send(claim.message)

    assert await deliver_due(pool, channels) == 0
    (lease,) = await read_waits(pool, org_id)
    assert timedelta(0) <= LEASE_DURATION - lease < 5 * SECOND

    await make_due(pool, org_id)
    assert await deliver_due(pool, channels) == 1
    row = await read_single_delivery(pool, org_id)
    assert (row.status, row.attempts) == (DeliveryStatus.SENT, 2)
    assert smtp_server.count_copies() == {f"<{row.id}@growfin.test>": 2}


async def test_a_late_outcome_does_not_overwrite_a_newer_one(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    org_id = await queue_mails(pool, "mia@customer.example")
    (claim,) = await delivery_claims.claim_deliveries(pool, org_id, channels, limit=DELIVERIES_PER_BATCH)
    await make_due(pool, org_id)
    await deliver_due(pool, channels)
    await record_attempts(pool, org_id, [decide_outcome(claim, Outcome(Result.TEMPORARY, "Too slow"), EMAIL.backoff)])

    row = await read_single_delivery(pool, org_id)
    assert (row.status, row.last_error) == (DeliveryStatus.SENT, None)
    assert await read_waits(pool, org_id) == []
    assert len(smtp_server.received) == 1


async def test_an_outcome_is_recorded_once_the_database_is_available_again(
    own_database: TestServer, superuser: Superuser, smtp_server: SmtpServer
) -> None:
    channels = make_channels(smtp_server)
    name = await superuser.fetchval("SELECT current_database()")
    close_connections = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = 'tessera_service'"
    )
    async with open_pool(own_database) as pool, superuser_connection(own_database.at("postgres")) as other_connection:
        org_id = await queue_mails(pool, "mia@customer.example")
        smtp_server.pause()
        with capture_logs() as logs:
            delivering = asyncio.create_task(deliver_due(pool, channels))
            await asyncio.sleep(0.3)
            await other_connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
            await other_connection.fetch(close_connections, name)
            smtp_server.resume()
            is_refused = await eventually(partial(is_logged, logs, "recording_failed"), within=20)
            await other_connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            assert is_refused
            assert await delivering == 1

        assert (await read_single_delivery(pool, org_id)).status == DeliveryStatus.SENT
    assert len(smtp_server.received) == 1


async def is_logged(logs: Sequence[Mapping[str, object]], event: str) -> bool:
    return any(line["event"] == event for line in logs)


# --- stopping --------------------------------------------------------------------------------------------------------


async def test_a_stopping_worker_releases_deliveries_that_it_has_not_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    smtp_server.delay = 0.02
    org_id = await queue_mails(pool, *make_addresses(40))

    def is_stopping() -> bool:
        return len(smtp_server.received) >= 3

    await deliver_due(pool, channels, is_stopping)
    after, sent = await read_deliveries(pool, org_id), len(smtp_server.received)
    assert 3 <= sent < 40
    assert Counter(row.status for row in after.values()) == {
        DeliveryStatus.SENT: sent,
        DeliveryStatus.QUEUED: 40 - sent,
    }
    assert {row.attempts for row in after.values() if row.status == DeliveryStatus.QUEUED} == {0}
    assert all(wait <= timedelta(0) for wait in await read_waits(pool, org_id))

    await deliver_due(pool, channels)
    assert set(smtp_server.count_copies().values()) == {1}
    assert len(smtp_server.received) == 40


async def test_a_cancelled_worker_records_the_mails_that_it_has_sent(
    pool: Database, smtp_server: SmtpServer, channels: Channels
) -> None:
    """Sent mails are not sent again. The others, but for those being sent, do not wait for the end of the lease."""
    org_id = await queue_mails(pool, *make_addresses(20))
    delivering = asyncio.create_task(deliver_due(pool, channels))
    while len(smtp_server.received) < 4:  # noqa: ASYNC110 - must notice it within one iteration of the event loop
        await asyncio.sleep(0)
    smtp_server.pause()
    await asyncio.sleep(0.1)
    sent = len(smtp_server.received)
    delivering.cancel()
    await asyncio.wait([delivering])
    smtp_server.resume()

    after = await read_deliveries(pool, org_id)
    assert Counter(row.status for row in after.values()) == {
        DeliveryStatus.SENT: sent,
        DeliveryStatus.QUEUED: 20 - sent,
    }
    waits = await read_waits(pool, org_id)
    assert len([wait for wait in waits if wait > timedelta(0)]) == DEFAULT_CONNECTIONS
    assert delivering.cancelled()
