"""Failures of the database under load, and disconnecting clients: responses, durability and recovery."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import make_url

from app.core.embedded import Server, start
from tests.conftest import SECRET_KEY, connect
from tests.databases import count_open_transactions, eventually
from tests.tessera_process import (
    READY,
    Client,
    Program,
    create_embedded_database,
    has_mails,
    run_tessera,
    server_processes,
    signed_up_client,
    working_folder,
)

if TYPE_CHECKING:
    from tests.databases import Superuser

RECOVERY_TIMEOUT = 10.0  # seconds
CLIENTS = 6


@dataclass
class Deployment:
    """A database server that tests can stop, and a service that uses it as an external database."""

    folder: Path
    database: Server
    service: Program
    client: Client

    async def restart_database(self) -> None:
        await asyncio.to_thread(self.database.stop)
        await asyncio.sleep(0.5)
        self.database = await asyncio.to_thread(start, self.folder / "data", durable=False)


@pytest.fixture(scope="module")
async def deployment() -> AsyncIterator[Deployment]:
    with working_folder() as folder:
        await asyncio.to_thread(create_embedded_database, folder / "data")
        database = await asyncio.to_thread(start, folder / "data", durable=False)
        settings = {"database_url": database.address.service_url, "secret_key": SECRET_KEY, "database_pool_timeout": 2}
        async with run_tessera("serve", folder, **settings) as service:
            await service.wait_for_output(READY)
            async with signed_up_client(service.url) as client:
                deployment = Deployment(folder, database, service, client)
                yield deployment
            assert await service.stop() < 10
        deployment.database.stop()


@asynccontextmanager
async def superuser_connection_to(deployment: Deployment) -> AsyncIterator[Superuser]:
    password = json.loads((deployment.folder / "data/postgres.json").read_text())["postgres"]
    url = make_url(deployment.database.address.owner_url).set(username="postgres", password=password)
    connection = await connect(url.render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        with suppress(OSError):  # the server may have stopped
            await connection.close()


@dataclass
class Load:
    """Clients that open, reply to and read tickets continuously, and the responses that they got."""

    acknowledged: list[str] = field(default_factory=list)
    replied_to: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    invalid_responses: list[str] = field(default_factory=list)
    last_success: float = 0.0
    running: bool = True

    async def run_client(self, client: Client) -> None:
        while self.running:
            opened = await self.send(client.open())
            if opened is None:
                continue
            ticket = str(opened.json()["id"])
            self.acknowledged.append(ticket)
            if await self.send(client.respond(ticket)):
                self.replied_to.append(ticket)
            await self.send(client.get(f"/tickets/{ticket}"))

    async def send(self, request: Awaitable[httpx.Response]) -> httpx.Response | None:
        answer = await request
        self.statuses[answer.status_code] += 1
        if answer.is_success:
            self.last_success = time.monotonic()
            return answer
        if (
            answer.status_code != 503
            or answer.headers["Content-Type"] != "application/problem+json"
            or "Retry-After" not in answer.headers
        ):
            self.invalid_responses.append(f"{answer.status_code} {answer.text[:200]}")
        await asyncio.sleep(0.01)
        return None


@asynccontextmanager
async def under_load(client: Client) -> AsyncIterator[Load]:
    load = Load()
    clients = [asyncio.create_task(load.run_client(client)) for _ in range(CLIENTS)]
    try:
        assert await eventually(lambda: has_opened(load, 10), within=20)
        yield load
    finally:
        load.running = False
        await asyncio.gather(*clients)


async def has_opened(load: Load, count: int) -> bool:
    return len(load.acknowledged) >= count


async def wait_for_recovery(load: Load) -> float:
    """Wait until each kind of request succeeds again; return the seconds."""
    started, before = time.monotonic(), len(load.replied_to)
    while len(load.replied_to) < before + 2 * CLIENTS:
        assert time.monotonic() - started < 3 * RECOVERY_TIMEOUT, load.statuses
        await asyncio.sleep(0.01)
    return time.monotonic() - started


async def assert_no_data_is_lost(deployment: Deployment, load: Load) -> None:
    client = deployment.client
    assert load.invalid_responses == [], "\n".join(
        line for line in deployment.service.errors if "unhandled" in line or "Error" in line
    )
    assert load.statuses[503] > 0
    assert set(load.statuses) <= {200, 201, 503}
    async with superuser_connection_to(deployment) as superuser:
        kept = {str(row["id"]) for row in await superuser.fetch("SELECT id FROM tickets")}
        responded = {str(row["id"]) for row in await superuser.fetch("SELECT ticket_id AS id FROM comments")}
        gaps = "SELECT count(*) FROM (SELECT max(seq) - count(*) AS n FROM events GROUP BY org_id) AS g WHERE n <> 0"
        assert await superuser.fetchval(gaps) == 0
        assert await superuser.fetchval("SELECT max(number) - count(*) FROM tickets") == 0
        assert await eventually(lambda: worker_is_done(superuser), within=RECOVERY_TIMEOUT)
        expected = await superuser.fetchval("SELECT count(*) FROM deliveries")
        sql = "SELECT count(*) FROM events WHERE type IN ('ticket.assigned', 'ticket.responded')"
        notified = await superuser.fetchval(sql)
        assert expected == notified
        assert await has_mails(deployment.folder, expected)
        assert await eventually(lambda: no_transaction_is_open(superuser), within=2)
    assert set(load.acknowledged) <= kept
    assert set(load.replied_to) <= responded
    assert await eventually(lambda: pool_is_idle(client), within=2)


async def worker_is_done(superuser: Superuser) -> bool:
    sql = """
        SELECT (SELECT count(*) FROM timers WHERE kind = 'DELIVER')
             + (SELECT sum(last_event - last_seq) FROM counters JOIN relays USING (org_id))
    """
    return bool(await superuser.fetchval(sql) == 0)


async def pool_is_idle(client: Client) -> bool:
    return "\ntessera_database_connections_in_use 0.0\n" in (await client.http.get("/metrics")).text


async def no_transaction_is_open(superuser: Superuser) -> bool:
    return await count_open_transactions(superuser) == 0


async def test_a_database_restart_under_load_only_causes_503s(deployment: Deployment) -> None:
    async with under_load(deployment.client) as load:
        await deployment.restart_database()
        assert await wait_for_recovery(load) < RECOVERY_TIMEOUT
    await assert_no_data_is_lost(deployment, load)


async def test_a_killed_backend_under_load_only_causes_503s(deployment: Deployment) -> None:
    """The server then ends all connections, and recovers as after a crash."""
    async with under_load(deployment.client) as load:
        async with superuser_connection_to(deployment) as superuser:
            sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'tessera_service' AND state <> 'idle' LIMIT 1"
            victim = None
            while victim is None:
                victim = await superuser.fetchval(sql)
            os.kill(victim, signal.SIGKILL)
        assert await wait_for_recovery(load) < RECOVERY_TIMEOUT
    await assert_no_data_is_lost(deployment, load)


async def test_a_killed_and_restarted_database_loses_no_data(deployment: Deployment) -> None:
    async with under_load(deployment.client) as load:
        for pid in server_processes(deployment.folder / "data"):
            os.kill(pid, signal.SIGKILL)
        await deployment.restart_database()
        assert await wait_for_recovery(load) < RECOVERY_TIMEOUT
    await assert_no_data_is_lost(deployment, load)


async def test_without_a_database_the_service_is_live_but_not_ready(deployment: Deployment) -> None:
    http = deployment.client.http
    await asyncio.to_thread(deployment.database.stop)
    try:
        live, ready = await http.get("/health/live"), await http.get("/health/ready")
        listed = await deployment.client.get("/tickets")
    finally:
        deployment.database = await asyncio.to_thread(start, deployment.folder / "data", durable=False)
    assert (live.status_code, ready.status_code, listed.status_code) == (200, 503, 503)
    assert (await http.get("/health/ready")).status_code == 200


async def test_a_client_that_disconnects_during_a_request_leaves_no_transaction(deployment: Deployment) -> None:
    client = deployment.client
    ticket = await client.ticket()
    async with superuser_connection_to(deployment) as superuser:
        async with superuser.transaction():
            await superuser.execute("SELECT 1 FROM tickets FOR UPDATE")
            async with httpx.AsyncClient(base_url=deployment.service.url, timeout=0.3) as impatient:
                hurried = replace(client, http=impatient)
                with pytest.raises(httpx.ReadTimeout):
                    await hurried.respond(ticket)
            assert await count_open_transactions(superuser) >= 1
        assert await eventually(lambda: no_transaction_is_open(superuser), within=2)
    assert await eventually(lambda: pool_is_idle(client), within=2)


async def test_a_client_that_disconnects_during_its_body_starts_no_transaction(deployment: Deployment) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", deployment.service.port)
    secret = deployment.client.secret["X-Org-Secret"]
    head = f"POST /tickets HTTP/1.1\r\nHost: t\r\nX-Org-Secret: {secret}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"title": "It')
    await writer.drain()
    await asyncio.sleep(0.1)
    async with superuser_connection_to(deployment) as superuser:
        # The worker has short transactions from time to time.
        assert await eventually(lambda: no_transaction_is_open(superuser), within=2)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        await asyncio.sleep(0.1)
        assert await eventually(lambda: no_transaction_is_open(superuser), within=2)
