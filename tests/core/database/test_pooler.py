"""The pool behind PgBouncer, whose three connections to the server serve a different client in each transaction."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import exc, select, text, update
from structlog.testing import capture_logs

from app.core.database import pooler
from app.core.database.pool import LOCK_TIMEOUT, Database
from app.core.database.violations import get_sqlstate
from app.core.outbox.models import Counter, EventRow
from tests.conftest import settings_for
from tests.databases import (
    count_open_transactions,
    create_organisation,
    create_test_database,
    eventually,
    open_pool,
    running_service,
    superuser_connection,
)
from tests.pgbouncer import SERVER_CONNECTIONS, SERVICE_PARAMETERS, PgBouncer, running_pgbouncer

if TYPE_CHECKING:
    from tests.postgres import TestServer

CLIENTS = 4 * SERVER_CONNECTIONS
TRANSACTIONS = 25  # per client
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
IDENTITY = text("SELECT pg_backend_pid(), current_setting('app.org_id', true)")
SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "jit", "timezone")


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "pooler")


@pytest.fixture(scope="module")
def pgbouncer(own_database: TestServer) -> Iterator[PgBouncer]:
    with running_pgbouncer(own_database) as running:
        yield running


@pytest.fixture
async def pool(pgbouncer: PgBouncer) -> AsyncIterator[Database]:
    """A pool with more connections than PgBouncer has to the server."""
    async with open_pool(pgbouncer.server, pool_size=CLIENTS, transaction_pooler=True) as pool:
        yield pool


async def read_settings(pool: Database) -> dict[str, str]:
    async with pool.session(None) as db:
        return {name: str(await db.scalar(text(f"SHOW {name}"))) for name in SETTINGS}


async def sign_up(api_http: Any) -> int:
    body = {"name": "Growfin", "domain": f"d{uuid4().hex}.test"}
    answer = await api_http.post("/auth/org/signup", json=body)
    if answer.status_code == 503:
        assert "Retry-After" in answer.headers
    return cast("int", answer.status_code)


# --- isolation -------------------------------------------------------------------------------------------------------


async def test_organisations_that_share_a_connection_do_not_see_each_other(
    pgbouncer: PgBouncer, pool: Database
) -> None:
    organisations = [await create_organisation(pool) for _ in range(CLIENTS // 2)]
    served: dict[int, set[UUID | None]] = defaultdict(set)

    async def run_transactions(org_id: UUID | None) -> None:
        for _ in range(TRANSACTIONS):
            async with pool.session(org_id) as db:
                pid, is_set = (await db.execute(IDENTITY)).one()
                seen = set((await db.scalars(select(EventRow.org_id))).all())
            assert (is_set or None, seen) == ((str(org_id), {org_id}) if org_id else (None, set()))
            served[pid].add(org_id)

    async def run_driver_transactions(org_id: UUID) -> None:
        for _ in range(TRANSACTIONS):
            async with pool.driver(org_id) as driver:
                assert await driver.fetchval("SELECT current_setting('app.org_id')") == str(org_id)
                # An array, whose type the driver looks up with statements of its own.
                seen = await driver.fetchval("SELECT array_agg(DISTINCT org_id) FROM events WHERE org_id <> $1", org_id)
            assert seen is None

    await asyncio.gather(
        *(run_transactions(org_id) for org_id in [*organisations, None]),
        *(run_driver_transactions(org_id) for org_id in organisations),
    )

    assert len(served) == SERVER_CONNECTIONS
    assert all(len(shared) > SERVER_CONNECTIONS for shared in served.values())
    async with pgbouncer.hold_all_connections() as connections:
        for connection in connections:
            assert not await connection.fetchval("SELECT current_setting('app.org_id', true)")
            assert await connection.fetchval("SELECT count(*) FROM events") == 0


async def test_a_statement_outside_of_a_transaction_is_prepared_and_executed_on_one_connection(
    pgbouncer: PgBouncer,
) -> None:
    """SQLAlchemy sends such statements when it connects. The driver must send no Sync between the two steps."""
    async with pgbouncer.hold_all_connections():
        pass
    url = pgbouncer.server.service_url.replace("+asyncpg", "")
    client = await asyncpg.connect(url, statement_cache_size=0)
    try:
        pids = {await client.fetchval("SELECT pg_backend_pid()") for _ in range(SERVER_CONNECTIONS)}
        assert len(pids) == SERVER_CONNECTIONS
        named = await client.prepare("SELECT 1", name="named")
        assert await named.fetchval() == 1
        with pytest.raises(asyncpg.InvalidSQLStatementNameError):
            await named.fetchval()
    finally:
        client.terminate()


async def test_a_cancelled_task_frees_the_connection_to_the_server(
    own_database: TestServer, pgbouncer: PgBouncer, pool: Database
) -> None:
    async def sleep() -> None:
        async with pool.session(None) as db:
            await db.execute(text("SELECT pg_sleep(60)"))

    async with superuser_connection(own_database) as superuser:
        sleepers = [asyncio.create_task(sleep()) for _ in range(SERVER_CONNECTIONS)]

        async def all_sleep() -> bool:
            return await count_open_transactions(superuser) == SERVER_CONNECTIONS

        async def none_sleeps() -> bool:
            return await count_open_transactions(superuser) == 0

        assert await eventually(all_sleep)
        for sleeper in sleepers:
            sleeper.cancel()
        await asyncio.gather(*sleepers, return_exceptions=True)
        assert await eventually(none_sleeps)
    async with pgbouncer.hold_all_connections():
        pass


# --- settings of each transaction ------------------------------------------------------------------------------------


async def test_a_transaction_has_the_settings_that_it_has_without_a_pooler(
    own_database: TestServer, pgbouncer: PgBouncer
) -> None:
    async with (
        open_pool(own_database, statement_timeout=7.5) as direct,
        open_pool(pgbouncer.server, statement_timeout=7.5, transaction_pooler=True) as pooled,
    ):
        settings = await read_settings(pooled)
        assert settings == await read_settings(direct)
    assert settings["statement_timeout"] == "7500ms"


async def test_no_timeout_is_left_on_a_connection_to_the_server(pgbouncer: PgBouncer, pool: Database) -> None:
    await asyncio.gather(*(read_settings(pool) for _ in range(CLIENTS)))

    async with pgbouncer.hold_all_connections() as connections:
        for connection in connections:
            for name in SETTINGS[:3]:
                assert await connection.fetchval(f"SHOW {name}") == "0"


async def test_a_statement_is_cancelled_after_its_timeout(pgbouncer: PgBouncer) -> None:
    async with open_pool(pgbouncer.server, statement_timeout=0.3, pool_size=1, transaction_pooler=True) as pool:
        began = time.monotonic()
        with pytest.raises(exc.DBAPIError) as caught:
            async with pool.session(None) as db:
                await db.execute(text("SELECT pg_sleep(60)"))
        assert get_sqlstate(caught.value) == QUERY_CANCELED
        assert time.monotonic() - began < 30
        async with pool.session(None) as db:
            assert await db.scalar(text("SELECT 1")) == 1


async def test_a_lock_is_refused_after_its_timeout(own_database: TestServer, pgbouncer: PgBouncer) -> None:
    async with (
        open_pool(pgbouncer.server, statement_timeout=60, transaction_pooler=True) as pool,
        superuser_connection(own_database) as superuser,
        superuser.transaction(),
    ):
        org_id = await create_organisation(pool)
        await superuser.execute("SELECT FROM counters WHERE org_id = $1 FOR UPDATE", org_id)
        began = time.monotonic()
        with pytest.raises(exc.DBAPIError) as caught:
            async with pool.session(org_id) as db:
                await db.execute(update(Counter).where(Counter.org_id == org_id).values(last_event=7))
        assert get_sqlstate(caught.value) == LOCK_NOT_AVAILABLE
        assert time.monotonic() - began > LOCK_TIMEOUT - 0.1


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_request_that_waits_too_long_for_pgbouncer_is_a_503(pgbouncer: PgBouncer, is_connected: bool) -> None:
    settings = settings_for(
        pgbouncer.server, database_pooler="transaction", database_pool_size=1, statement_timeout=0.1
    )
    async with running_service(settings) as (api, pool):
        if is_connected:
            await create_organisation(pool)
        async with pgbouncer.hold_all_connections():
            assert await sign_up(api.http) == 503
            assert pool.connections_in_use() == 0
        assert await sign_up(api.http) == 201


# --- a service that does not know of the pooler ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ignored", "reason"),
    [("", "unsupported startup parameter"), (SERVICE_PARAMETERS, "prepared statement")],
)
async def test_without_the_setting_requests_get_a_503_and_the_log_names_it(
    own_database: TestServer, ignored: str, reason: str
) -> None:
    with running_pgbouncer(own_database, ignored=ignored) as pgbouncer:
        async with pgbouncer.hold_all_connections():
            pass
        with capture_logs() as logs:
            async with running_service(settings_for(pgbouncer.server, database_pool_size=1)) as (api, _):
                statuses = [await sign_up(api.http) for _ in range(3)]
    assert 503 in statuses
    assert 500 not in statuses
    entries = [entry for entry in logs if entry["event"] == "pooler_not_configured"]
    assert entries
    assert entries[0]["log_level"] == "error"
    assert reason in entries[0]["error"]
    assert entries[0]["remedy"] == f"{pooler.PROBLEM}: {pooler.REMEDY}"
