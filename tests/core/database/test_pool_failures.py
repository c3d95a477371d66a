"""Failures of the pool on a real server: statements that take too long, no free connection, and lost connections."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app.core.database.outages import is_outage
from app.core.database.pool import Database
from tests.conftest import settings_for
from tests.databases import count_open_transactions, eventually, open_pool, running_service, superuser_connection
from tests.organisation_client import Desk, create_desk
from tests.problems import read_invalid_fields

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

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
