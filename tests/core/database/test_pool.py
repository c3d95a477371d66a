"""The pool on a real server: commits, rollbacks, isolation of organisations and cancelled tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import exc, insert, select, text
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.pool import CommitFailed, Database
from app.core.ids import new_id
from app.core.outbox.models import EventRow
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
from tests.organisation_client import create_desk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.databases import Superuser
    from tests.postgres import TestServer

# Fails at the commit, like a deferred constraint, a serialisation failure or a full disk.
FAILS_AT_COMMIT = """
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = substr(NEW.title, 7, 5); END $$;
    CREATE CONSTRAINT TRIGGER fails AFTER INSERT OR UPDATE ON tickets DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.title LIKE 'fails %') EXECUTE FUNCTION fail()
"""


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "pool")


@pytest.fixture(scope="module")
async def superuser(own_database: TestServer) -> AsyncIterator[Superuser]:
    async with superuser_connection(own_database) as connection:
        await connection.execute(FAILS_AT_COMMIT)
        yield connection


@pytest.fixture
async def pool(own_database: TestServer) -> AsyncIterator[Database]:
    """A pool with one connection, so that each transaction reuses the connection of the previous one."""
    async with open_pool(own_database, pool_size=1, pool_timeout=2.0) as database:
        yield database


async def add_event(database: Database, org_id: UUID, seq: int) -> None:
    async with database.session(org_id) as db:
        await db.execute(
            insert(EventRow).values(
                org_id=org_id,
                seq=seq,
                id=new_id(),
                type="test",
                version=1,
                actor_type="SYSTEM",
                data={},
                created_at=real_now(),
            )
        )


async def read_visible_events(database: Database, org_id: UUID | None) -> set[UUID]:
    async with database.session(org_id) as db:
        return set(await db.scalars(select(EventRow.org_id)))


# --- committing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sqlstate", "status"), [("40001", 503), ("53100", 503), ("P0001", 500)])
async def test_a_failed_commit_is_an_error_response_and_writes_nothing(
    own_database: TestServer, superuser: Superuser, sqlstate: str, status: int
) -> None:
    async with running_service(settings_for(own_database)) as (api, pool):
        desk = await create_desk(api, pool)
        ticket = await desk.open()
        body = {"title": f"fails {sqlstate}", "description": "At the commit.", "addedBy": "mia@customer.example"}
        with capture_logs():
            opened = await api.http.post("/tickets", json=body, headers={"X-Org-Secret": desk.secret})
            edited = await desk.admin.patch(f"/tickets/{ticket['id']}", {"title": f"fails {sqlstate}"})

        assert (opened.status_code, edited.status_code) == (status, status)
        assert opened.headers["Content-Type"] == edited.headers["Content-Type"] == "application/problem+json"
        assert await superuser.fetchval("SELECT array_agg(title) FROM tickets WHERE org_id = $1", desk.id) == [
            "It broke"
        ]
        assert (await desk.open())["number"] == 2
        assert pool.connections_in_use() == 0


async def test_a_commit_that_becomes_a_rollback_is_an_error(pool: Database) -> None:
    async def ignore_an_error_in_a_session() -> None:
        async with pool.session(None) as db:
            with pytest.raises(exc.DBAPIError):
                await db.execute(text("SELECT 1 / 0"))

    async def ignore_an_error_in_the_driver() -> None:
        async with pool.driver(uuid4()) as driver:
            with pytest.raises(asyncpg.DivisionByZeroError):
                await driver.execute("SELECT 1 / 0")

    with pytest.raises(CommitFailed):
        await ignore_an_error_in_a_session()
    with pytest.raises(CommitFailed):
        await ignore_an_error_in_the_driver()

    assert await read_visible_events(pool, None) == set()


async def test_an_exception_rolls_everything_back(pool: Database) -> None:
    org_id = await create_organisation(pool)

    async def write_and_fail() -> None:
        async with pool.driver(org_id) as driver:
            await driver.execute("UPDATE counters SET last_number = 7 WHERE org_id = $1", org_id)
            raise LookupError

    with pytest.raises(LookupError):
        await write_and_fail()
    async with pool.session(org_id) as db:
        assert await db.scalar(text(f"SELECT last_number FROM counters WHERE org_id = '{org_id}'")) == 0


# --- isolation of organisations --------------------------------------------------------------------------------------


async def test_a_transaction_sees_only_the_rows_of_its_organisation(pool: Database) -> None:
    here, there = await create_organisation(pool), await create_organisation(pool)

    assert await read_visible_events(pool, here) == {here}
    assert await read_visible_events(pool, there) == {there}
    assert await read_visible_events(pool, None) == set()
    async with pool.driver(there) as driver:
        assert {row["org_id"] for row in await driver.fetch("SELECT org_id FROM events")} == {there}


async def test_rows_of_another_organisation_cannot_be_written(pool: Database) -> None:
    here, there = await create_organisation(pool), await create_organisation(pool)

    async with pool.driver(here) as driver:
        assert await driver.execute("DELETE FROM events WHERE org_id = $1", there) == "DELETE 0"
        assert await driver.execute("UPDATE events SET type = 'x' WHERE org_id = $1", there) == "UPDATE 0"
    sql = """
        INSERT INTO events (org_id, seq, id, type, version, actor_type, data, created_at)
        VALUES ($1, 99, $1, 'x', 1, 'SYSTEM', '{}', now())
    """
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with pool.driver(here) as driver:
            await driver.execute(sql, there)


@pytest.mark.parametrize("ending", ["commit", "rollback", "statement error", "cancelled"])
async def test_a_connection_returns_to_the_pool_without_an_organisation(pool: Database, ending: str) -> None:
    org_id = await create_organisation(pool)

    async def use_connection() -> None:
        async with pool.driver(org_id) as driver:
            match ending:
                case "rollback":
                    raise LookupError
                case "statement error":
                    await driver.execute("SELECT 1 / 0")
                case "cancelled":
                    await driver.execute("SELECT pg_sleep(5)")

    user = asyncio.create_task(use_connection())
    if ending == "cancelled":
        await asyncio.sleep(0.05)
        user.cancel()
    await asyncio.wait([user])

    async with pool.session(None) as db:
        assert not await db.scalar(text("SELECT current_setting('app.org_id', true)"))
        assert (await db.scalars(select(EventRow.org_id))).all() == []


async def test_the_organisation_is_set_only_during_the_transaction(pool: Database) -> None:
    async with pool.driver(uuid4()) as driver:
        connection = driver
    assert not await connection.fetchval("SELECT current_setting('app.org_id', true)")
    assert not connection.is_in_transaction()


async def test_an_organisation_id_that_is_not_a_uuid_is_refused(pool: Database) -> None:
    crafted: Any = f"{uuid4()}'; DROP TABLE events; --"
    with pytest.raises(ValueError, match="UUID"):
        async with pool.driver(crafted):
            pass
    assert pool.connections_in_use() == 0


# --- cancellation ----------------------------------------------------------------------------------------------------


async def use_session(database: Database, org_id: UUID) -> None:
    async with database.session(org_id) as db:
        await db.execute(text("SELECT 1"))
        await db.execute(text("SELECT pg_sleep(0.002)"))


async def use_driver(database: Database, org_id: UUID) -> None:
    async with database.driver(org_id) as driver:
        await driver.execute("SELECT 1")
        await driver.execute("SELECT pg_sleep(0.002)")


@pytest.mark.parametrize("use", [use_session, use_driver])
async def test_a_cancelled_task_leaves_no_open_transaction_or_connection(
    own_database: TestServer, superuser: Superuser, use: Callable[[Database, UUID], Awaitable[None]]
) -> None:
    org_id = uuid4()
    async with open_pool(own_database, pool_size=1) as pool:
        for turns in range(60):
            await use(pool, org_id)
            task = asyncio.ensure_future(use(pool, org_id))
            for _ in range(turns % 30):
                await asyncio.sleep(0)
            if turns >= 30:
                await asyncio.sleep(0.0001 * (turns - 30))
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
            assert await count_open_transactions(superuser) == 0 or await eventually(
                lambda: is_without_transactions(superuser), within=0.3
            ), turns
            assert pool.connections_in_use() == 0


async def is_without_transactions(superuser: Superuser) -> bool:
    return await count_open_transactions(superuser) == 0


async def test_a_cancelled_begin_closes_the_connection(pool: Database, superuser: Superuser) -> None:
    """The server may have begun a transaction for the cancelled task. The next one must not run in it."""
    async with pool.driver(uuid4()) as driver:
        pid = driver.get_server_pid()
    beginning = asyncio.create_task(use_driver(pool, uuid4()))
    while pool.connections_in_use() == 0:  # noqa: ASYNC110 - must notice it within one iteration of the event loop
        await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.wait([beginning])

    assert await eventually(lambda: is_closed(superuser, pid))
    await use_driver(pool, uuid4())


async def is_closed(superuser: Superuser, pid: int) -> bool:
    return not await superuser.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)
