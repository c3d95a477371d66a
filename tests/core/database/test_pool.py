"""The pool on a real server: commits, rollbacks, isolation of organisations, timeouts and lost connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import exc, insert, select, text
from structlog.testing import capture_logs

from app.core.clock import real_now
from app.core.database.outages import is_outage
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
from tests.organisation_client import Desk, create_desk
from tests.problems import read_invalid_fields

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


# --- timeouts --------------------------------------------------------------------------------------------------------


async def test_statements_locks_and_idle_transactions_have_timeouts(own_database: TestServer) -> None:
    async with open_pool(own_database, statement_timeout=7.5) as pool, pool.session(None) as db:
        shown = {
            name: await db.scalar(text(f"SHOW {name}"))
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")
        }
    assert shown == {
        "statement_timeout": "7500ms",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "15s",
        "timezone": "UTC",
    }


async def test_a_statement_timeout_is_a_503_and_the_connection_stays_usable(
    own_database: TestServer, superuser: Superuser
) -> None:
    async with running_service(settings_for(own_database, statement_timeout=0.3, database_pool_size=1)) as (api, pool):
        desk = await create_desk(api, pool)
        ticket = await desk.open()
        async with superuser.transaction():
            await superuser.execute("SELECT 1 FROM tickets WHERE org_id = $1 FOR UPDATE", desk.id)
            began = time.monotonic()
            answer = await desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."})
            took = time.monotonic() - began
        assert_unavailable(answer)
        assert took < 2
        assert (await desk.read(ticket))["status"] == "OPEN"
        await desk.respond(ticket)


async def test_an_exhausted_pool_is_a_503_after_its_timeout(own_database: TestServer) -> None:
    async with running_service(settings_for(own_database, database_pool_size=2, database_pool_timeout=0.4)) as (
        api,
        pool,
    ):
        desk = await create_desk(api, pool)
        ticket = await desk.open()
        async with pool.session(None), pool.session(None):
            assert pool.connections_in_use() == 2
            began = time.monotonic()
            answers = await asyncio.gather(
                desk.admin.get("/tickets"),
                desk.admin.get("/notifications"),
                desk.admin.post(f"/tickets/{ticket['id']}/respond", {"message": "Fixed."}),
            )
            took = time.monotonic() - began
        for answer in answers:
            assert_unavailable(answer)
        assert 0.3 < took < 1.5
        assert (await desk.admin.get("/tickets")).status_code == 200
        assert pool.connections_in_use() == 0


async def test_an_invalid_query_is_a_422_even_if_the_pool_is_exhausted(own_database: TestServer) -> None:
    async with running_service(settings_for(own_database, database_pool_size=1, database_pool_timeout=0.1)) as (
        api,
        pool,
    ):
        desk = await create_desk(api, pool, sandbox=False)  # whose credentials are cached
        await desk.admin.get("/roles")
        async with pool.session(None):
            answers = [await desk.admin.get(f"{path}?colour=red") for path in ("/roles", "/users", "/tickets")]
            assert_unavailable(await desk.admin.get("/roles"))
        assert [read_invalid_fields(answer) for answer in answers] == [{"colour"}] * 3


def assert_unavailable(answer: Any) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["code"] == "unavailable"


# --- lost connections ------------------------------------------------------------------------------------------------


async def close_service_connections(superuser: Superuser) -> None:
    """End the service's connections, as a restart or a network failure would."""
    sql = """
        SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'tessera_service'
    """
    assert await superuser.fetchval(sql) > 0


async def test_an_idle_connection_that_the_server_closed_is_replaced(
    own_database: TestServer, superuser: Superuser
) -> None:
    async with running_service(settings_for(own_database, database_pool_size=3)) as (api, pool):
        desk = await create_desk(api, pool)
        await asyncio.gather(*(desk.admin.get("/tickets") for _ in range(6)))
        await close_service_connections(superuser)
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(*(desk.admin.get("/tickets") for _ in range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6


@pytest.mark.parametrize("path", ["respond", "open"])
async def test_a_connection_that_the_server_closes_during_a_request_is_a_503(
    own_database: TestServer, superuser: Superuser, path: str
) -> None:
    async with running_service(settings_for(own_database, database_pool_size=1)) as (api, pool):
        desk = await create_desk(api, pool)
        ticket = await desk.open()
        async with superuser_connection(own_database) as holder, holder.transaction():
            await holder.execute("SELECT 1 FROM tickets WHERE org_id = $1 FOR UPDATE", desk.id)
            await holder.execute("SELECT 1 FROM counters WHERE org_id = $1 FOR UPDATE", desk.id)
            request = asyncio.create_task(respond_or_open(desk, ticket["id"], path))
            assert await eventually(lambda: count_open_transactions(superuser))
            await close_service_connections(superuser)
            answer = await request
        assert_unavailable(answer)
        assert pool.connections_in_use() == 0
        assert (await desk.read(ticket))["status"] == "OPEN"
        assert (await desk.open())["number"] == 2


async def respond_or_open(desk: Desk, ticket_id: str, path: str) -> Any:
    if path == "respond":
        return await desk.admin.post(f"/tickets/{ticket_id}/respond", {"message": "Fixed."})
    body = {"title": "It broke", "description": "All of it.", "addedBy": "mia@customer.example"}
    return await desk.api.http.post("/tickets", json=body, headers={"X-Org-Secret": desk.secret})


@pytest.mark.parametrize("place", ["?host=/no/such/folder", "@no-such-host.invalid/x", "@127.0.0.1:1/x"])
async def test_a_failure_to_connect_is_an_outage(place: str) -> None:
    database = Database(f"postgresql+asyncpg://{place}")
    with pytest.raises(ConnectionError) as caught:
        async with database.session(None):
            pass
    assert is_outage(caught.value)
    with pytest.raises(ConnectionError):
        async with database.driver(None):
            pass
    assert not is_outage(FileNotFoundError())
