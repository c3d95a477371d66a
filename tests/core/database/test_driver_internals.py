"""Undocumented behaviour of SQLAlchemy and asyncpg on which `app/core/database/` relies.

If a test fails after an upgrade, read the new code of the library, and adapt ours before you raise the upper bound of
its version. Each docstring says what would break.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import event, exc, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import PoolResetState
from sqlalchemy.util import greenlet_spawn

from app.core.database.pooler import UnnamedStatements
from tests.postgres import TestServer


@pytest.fixture
async def engine(server: TestServer) -> AsyncIterator[AsyncEngine]:
    """An engine like that of `Database`, without its listeners."""
    engine = create_async_engine(server.service_url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    yield engine
    await engine.dispose()


async def test_a_session_reports_begin_commit_and_rollback_without_sending_them(engine: AsyncEngine) -> None:
    """Otherwise no transaction is opened or committed, since our listeners of these events send the statements."""
    seen: list[str] = []
    for name in ("begin", "commit", "rollback"):
        event.listen(engine.sync_engine, name, lambda _connection, name=name: seen.append(name))
    async with AsyncSession(engine) as db:
        await db.execute(text("SELECT 1"))
        driver = cast("Any", (await (await db.connection()).get_raw_connection()).driver_connection)
        assert not driver.is_in_transaction(), "the library sends no BEGIN of its own"
        await db.commit()
        await db.execute(text("SELECT 1"))
        await db.rollback()
    assert seen == ["begin", "commit", "begin", "rollback"]


async def test_execution_options_reach_the_listener_of_begin(engine: AsyncEngine) -> None:
    """Otherwise the listener does not know the organisation, and every transaction sees the directory only."""
    seen: list[object] = []
    event.listen(engine.sync_engine, "begin", lambda on: seen.append(on.get_execution_options().get("org_id")))
    async with AsyncSession(engine) as db:
        await db.connection(execution_options={"org_id": "one"})
    assert seen == ["one"]


async def test_a_listener_runs_the_drivers_coroutines_with_run_async(engine: AsyncEngine) -> None:
    """Otherwise a listener, which is not a coroutine, cannot send BEGIN, COMMIT and ROLLBACK."""
    seen: list[object] = []

    def listen(connection: Any) -> None:
        adapted = connection.connection.dbapi_connection
        seen.append(adapted.run_async(lambda driver: driver.execute("BEGIN")))
        seen.append(type(adapted.driver_connection))
        seen.append(adapted.run_async(lambda driver: driver.execute("ROLLBACK")))

    event.listen(engine.sync_engine, "begin", listen)
    async with AsyncSession(engine) as db:
        await db.connection()
    assert seen == ["BEGIN", asyncpg.Connection, "ROLLBACK"]


async def test_a_connection_is_returned_without_a_greenlet(engine: AsyncEngine) -> None:
    """Otherwise `Database.driver` fails after each statement: it returns the connection with a plain `close`."""
    for _ in range(2):
        connection = await engine.raw_connection()
        driver = cast("asyncpg.Connection[Any]", connection.driver_connection)
        assert await driver.fetchval("SELECT 1") == 1
        connection.close()
        assert cast("Any", engine.pool).checkedout() == 0
        assert not driver.is_closed()


async def test_a_connection_returned_in_a_greenlet_is_reset_by_a_listener_that_awaits(engine: AsyncEngine) -> None:
    """Otherwise a cancelled request leaves its transaction open on the connection of the next one."""
    states: list[bool] = []

    def on_reset(adapted: Any, _record: object, state: PoolResetState) -> None:
        states.append(state.asyncio_safe)
        adapted.run_async(lambda driver: driver.execute("ROLLBACK"))

    event.listen(engine.sync_engine.pool, "reset", on_reset)
    connection = await engine.raw_connection()
    driver = cast("asyncpg.Connection[Any]", connection.driver_connection)
    await driver.execute("BEGIN")
    await asyncio.shield(greenlet_spawn(connection.close))
    assert (states, driver.is_in_transaction(), driver.is_closed()) == ([True], False, False)


async def test_a_disconnection_at_checkout_makes_the_pool_connect_again(engine: AsyncEngine) -> None:
    """Otherwise the first request after a restart of the database fails."""

    def refuse_closed(adapted: Any, _record: object, _proxy: object) -> None:
        if adapted.driver_connection.is_closed():
            raise exc.DisconnectionError("closed")

    event.listen(engine.sync_engine.pool, "checkout", refuse_closed)
    connection = await engine.raw_connection()
    first = cast("asyncpg.Connection[Any]", connection.driver_connection)
    connection.close()
    first.terminate()
    again = await engine.raw_connection()
    second = cast("asyncpg.Connection[Any]", again.driver_connection)
    assert second is not first
    assert await second.fetchval("SELECT 1") == 1
    again.close()


async def test_the_driver_sends_several_statements_and_returns_the_last_tag(engine: AsyncEngine) -> None:
    """Otherwise a transaction takes one more round trip, or a COMMIT that became a rollback goes unnoticed."""
    connection = await engine.raw_connection()
    driver = cast("asyncpg.Connection[Any]", connection.driver_connection)
    assert await driver.execute("BEGIN; SET LOCAL app.org_id = 'x'") == "SET"
    assert driver.is_in_transaction()
    with pytest.raises(asyncpg.DivisionByZeroError):
        await driver.execute("SELECT 1 / 0")
    assert await driver.execute("COMMIT") == "ROLLBACK"
    assert not driver.is_in_transaction()
    connection.close()


async def test_an_error_has_the_drivers_error_with_sqlstate_and_constraint(engine: AsyncEngine) -> None:
    """Otherwise a violated constraint leads to a 500 instead of the domain's error (`violations.py`)."""
    async with AsyncSession(engine) as db:
        await db.execute(text("CREATE TEMP TABLE canaries (name text CONSTRAINT uq_canaries_name UNIQUE)"))
        await db.execute(text("INSERT INTO canaries VALUES ('Tweety')"))
        with pytest.raises(exc.IntegrityError) as caught:
            await db.execute(text("INSERT INTO canaries VALUES ('Tweety')"))
        await db.execute(text("DROP TABLE canaries"))
    error: Any = caught.value.orig
    assert isinstance(error, AsyncAdapt_asyncpg_dbapi.Error)
    assert getattr(error, "sqlstate", None) == asyncpg.UniqueViolationError.sqlstate
    assert getattr(error.__cause__, "constraint_name", None) == "uq_canaries_name"


async def test_an_invalidated_connection_is_marked(engine: AsyncEngine) -> None:
    """Otherwise a rollback is sent to a connection that is gone, and hides the first error."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.invalidate()
        assert connection.sync_connection is not None
        assert connection.sync_connection.invalidated


async def test_a_statement_without_a_name_is_cached_and_sent_again_with_each_execution(server: TestServer) -> None:
    """Otherwise a statement behind a pooler needs two more round trips, or runs what another process has prepared."""
    url = server.service_url.replace("+asyncpg", "")
    driver: Any = await asyncpg.connect(url, connection_class=UnnamedStatements)
    try:
        assert [await driver.fetchval("SELECT $1::int", number) for number in (1, 2)] == [1, 2]
        statement = await driver._get_statement("SELECT $1::int", None)
        assert (statement.name, statement.prepared) == ("", False)
        assert statement is await driver._get_statement("SELECT $1::int", None)
        assert await driver.fetchval("SELECT array_agg($1::uuid)", uuid4())  # looks its types up
        await driver.executemany("SELECT $1::int", [(1,), (2,)])
        prepared = await driver.prepare("SELECT $1::int", name="named")
        await driver.fetchval("SELECT 3")
        assert [await prepared.fetchval(number) for number in (4, 5)] == [4, 5]
        assert await driver.fetch("SELECT name FROM pg_prepared_statements") == []
    finally:
        await driver.close()
