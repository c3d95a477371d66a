"""`tessera worker` as separate processes: two on one database, of which one is killed; and one next to the service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import httpx
import pytest

from app.core.database.pool import Database
from tests.conftest import SECRET_KEY
from tests.databases import create_organisation, create_test_database, eventually, open_pool, superuser_connection
from tests.due_tickets import insert_responded_tickets
from tests.smtp_server import SmtpServer, running_smtp_server
from tests.tessera_process import (
    READY,
    WORKING,
    Program,
    create_embedded_database,
    free_port,
    has_mails,
    run_tessera,
    signed_up_client,
    working_folder,
)

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

ORGANISATIONS = 4
TICKETS = 1000  # per organisation, each with a timer
REMINDED = 90  # of these tickets also have a reminder: another timer, an event and a mail


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "workers")


@pytest.fixture(scope="module")
async def superuser(own_database: TestServer) -> AsyncIterator[Superuser]:
    async with superuser_connection(own_database) as connection:
        yield connection


@asynccontextmanager
async def running_worker(
    own_database: TestServer, folder: Path, smtp_server: SmtpServer, name: str
) -> AsyncIterator[Program]:
    """Run a worker whose mails can be identified by their sender."""
    async with run_tessera(
        "worker", folder, database_url=own_database.service_url, secret_key=SECRET_KEY, smtp_url=smtp_server.url,
        mail_from=f"{name}@growfin.test", database_pool_size=4,
    ) as program:  # fmt: skip
        yield program


async def create_backlog(pool: Database, superuser: Superuser) -> list[UUID]:
    organisations = [await create_organisation(pool) for _ in range(ORGANISATIONS)]
    async with superuser.transaction():
        for org_id in organisations:
            await insert_responded_tickets(superuser, org_id, TICKETS, reminded=REMINDED)
    return organisations


async def test_two_workers_do_all_work_once_even_if_one_is_killed(
    own_database: TestServer, superuser: Superuser
) -> None:
    mails = ORGANISATIONS * REMINDED
    async with open_pool(own_database) as pool, running_smtp_server() as smtp_server:
        smtp_server.delay = 0.004
        with working_folder() as folder:
            async with (
                running_worker(own_database, folder, smtp_server, "ada") as ada,
                running_worker(own_database, folder, smtp_server, "bo") as bo,
            ):
                await asyncio.gather(ada.wait_for_output(WORKING), bo.wait_for_output(WORKING))
                await create_backlog(pool, superuser)
                assert await eventually(lambda: has_sent(smtp_server, "ada", mails // 6), within=40, every=0.002)
                os.kill(ada.process.pid, signal.SIGKILL)
                await ada.wait_for_exit()
                in_flight = await claimed_mails(superuser)
                assert len(set(smtp_server.recipients())) < mails
                # Its leases would expire by themselves after a minute.
                await superuser.execute("UPDATE timers SET due_at = now() WHERE kind = 'DELIVER'")

                assert await eventually(lambda: no_work_is_left(superuser), within=40)
                assert await bo.stop() < 5
                assert bo.process.returncode == 0

    await assert_each_timer_fired_once(superuser)
    assert await superuser.fetchval("SELECT count(*) FROM deliveries WHERE status = 'SENT'") == mails
    assert await superuser.fetchval("SELECT count(DISTINCT ticket_id) FROM mails") == mails
    sent = {f"<{row['id']}@growfin.test>" for row in await superuser.fetch("SELECT id FROM deliveries")}
    copies = smtp_server.count_copies()
    assert set(copies) == sent
    twice = {message_id for message_id, count in copies.items() if count > 1}
    assert max(copies.values()) <= 2
    for message_id in twice:
        first, second = (mail.sender for mail in smtp_server.received if mail.message_id == message_id)
        assert (first, second) == ("ada@growfin.test", "bo@growfin.test")
    assert twice <= in_flight
    assert {mail.sender for mail in smtp_server.received} == {"ada@growfin.test", "bo@growfin.test"}


async def has_sent(smtp_server: SmtpServer, name: str, count: int) -> bool:
    return sum(mail.sender.startswith(name) for mail in smtp_server.received) >= count


async def claimed_mails(superuser: Superuser) -> set[str]:
    """Return the message ids of mails that were claimed but not yet recorded as sent."""
    rows = await superuser.fetch("SELECT id FROM deliveries WHERE status = 'QUEUED' AND attempts > 0")
    return {f"<{row['id']}@growfin.test>" for row in rows}


async def no_work_is_left(superuser: Superuser) -> bool:
    sql = """
        SELECT (SELECT count(*) FROM timers)
             + (SELECT sum(last_event - last_seq) FROM counters JOIN relays USING (org_id))
    """
    return bool(await superuser.fetchval(sql) == 0)


async def assert_each_timer_fired_once(superuser: Superuser) -> None:
    tickets = ORGANISATIONS * TICKETS
    closed = "SELECT count(*) FROM tickets WHERE status = 'CLOSED' AND version = 2"
    assert await superuser.fetchval(closed) == tickets
    for kind, count in (("ticket.status_changed", tickets), ("ticket.closing_soon", ORGANISATIONS * REMINDED)):
        sql = "SELECT count(*) AS events, count(DISTINCT subject_id) AS tickets FROM events WHERE type = $1"
        row = await superuser.fetchrow(sql, kind)
        assert row is not None
        assert (row["events"], row["tickets"]) == (count, count)
    gaps = "SELECT count(*) FROM (SELECT max(seq) - count(*) AS gap FROM events GROUP BY org_id) AS g WHERE gap <> 0"
    assert await superuser.fetchval(gaps) == 0


async def test_a_separate_worker_survives_a_restart_of_the_service() -> None:
    """Both use the embedded database, which the service starts and stops."""
    with working_folder() as folder:
        await asyncio.to_thread(create_embedded_database, folder / "data")
        metrics_port = free_port()
        async with run_tessera("serve", folder, worker="off") as service:
            await service.wait_for_output(READY)
            assert "the worker runs separately" in service.out[1]
            async with (
                signed_up_client(service.url) as client,
                run_tessera("worker", folder, worker_metrics_port=metrics_port) as worker,
            ):
                await client.respond(await client.ticket())
                await asyncio.sleep(0.3)
                assert not list(folder.glob("data/mail/*.eml"))
                await worker.wait_for_output(WORKING)
                assert await eventually(lambda: has_mails(folder, 2))

                assert await service.stop() < 10
                async with run_tessera("serve", folder, worker="off") as again, httpx.AsyncClient() as http:
                    await again.wait_for_output(READY)
                    opened = await http.post(
                        f"{again.url}/tickets",
                        json={"title": "Again", "description": "It broke.", "addedBy": "mia@customer.example"},
                        headers=client.secret,
                    )
                    assert opened.status_code == 201
                    assert await eventually(lambda: has_mails(folder, 3), within=10)
                    assert await eventually(lambda: has_measured(http, metrics_port, 3))
                    assert await worker.stop() < 5
                    assert worker.process.returncode == 0


async def has_measured(http: httpx.AsyncClient, port: int, sent: int) -> bool:
    measured = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    return f'tessera_delivery_attempts_total{{channel="EMAIL",result="SENT"}} {sent}.0' in measured


async def test_a_worker_without_a_service_starts_the_embedded_database() -> None:
    with working_folder() as folder:
        async with run_tessera("worker", folder) as worker:
            await worker.wait_for_output(WORKING)
            await asyncio.sleep(1.2)
            assert await worker.stop() < 10
            assert worker.process.returncode == 0
            assert [line for line in worker.errors if "job_failed" in line] == []
        assert not (folder / "data/postgres/postmaster.pid").exists()
