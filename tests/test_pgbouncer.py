"""`tessera serve` and `tessera worker` behind PgBouncer, which is killed; and commands that do not expect it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from app.core.config import InvalidSettings
from app.core.database.migrations import migrate
from app.core.database.pooler import PROBLEM, REMEDY
from app.operations.doctor import Finding, run_checks
from tests.conftest import SECRET_KEY, settings_for
from tests.databases import create_test_database, eventually, superuser_connection
from tests.pgbouncer import SERVICE_PARAMETERS, PgBouncer, running_pgbouncer
from tests.tessera_process import READY, WORKING, Client, Program, run_tessera, signed_up_client, working_folder

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

ORGANISATIONS = 3
TICKETS = 8  # per organisation
# Of this database: other tests lock in others.
ADVISORY_LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
MAILS_WAITING = "SELECT count(*) FROM deliveries WHERE status <> 'SENT'"


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "pgbouncer")


@pytest.fixture(scope="module")
def pgbouncer(own_database: TestServer) -> Iterator[PgBouncer]:
    with running_pgbouncer(own_database) as running:
        yield running


@dataclass
class Deployment:
    """A service and a worker behind PgBouncer, each with more connections than PgBouncer has to PostgreSQL."""

    folder: Path
    pgbouncer: PgBouncer
    service: Program
    superuser: Superuser

    async def has_sent_mails(self, count: int) -> bool:
        """Return whether the worker has written this many mails, and recorded each."""
        return len(list(self.folder.glob("data/mail/*.eml"))) == count and not await self.superuser.fetchval(
            MAILS_WAITING
        )


@pytest.fixture(scope="module")
async def deployment(own_database: TestServer, pgbouncer: PgBouncer) -> AsyncIterator[Deployment]:
    url = pgbouncer.server.service_url
    settings = {"database_url": url, "database_pooler": "transaction", "secret_key": SECRET_KEY}
    with working_folder() as folder:
        async with (
            superuser_connection(own_database) as superuser,
            run_tessera("serve", folder, worker="off", **settings) as service,
            run_tessera("worker", folder, **settings) as worker,
        ):
            await asyncio.gather(service.wait_for_output(READY), worker.wait_for_output(WORKING))
            yield Deployment(folder, pgbouncer, service, superuser)
            await asyncio.gather(service.stop(), worker.stop())
            assert (service.process.returncode, worker.process.returncode) == (0, 0)


# --- the service and a worker ----------------------------------------------------------------------------------------


async def test_organisations_work_on_tickets_at_the_same_time(deployment: Deployment) -> None:
    async with AsyncExitStack() as stack:
        signing_up = [stack.enter_async_context(signed_up_client(deployment.service.url)) for _ in range(ORGANISATIONS)]
        clients = await asyncio.gather(*signing_up)
        tickets = await asyncio.gather(
            *(open_and_reply(client, name) for client, name in zip(clients, "abc", strict=True))
        )
        assert await eventually(lambda: deployment.has_sent_mails(2 * ORGANISATIONS * TICKETS), within=60)
        for client, name, own in zip(clients, "abc", tickets, strict=True):
            assert await client.numbers() == list(range(1, TICKETS + 1))
            assert await eventually(partial(finds, client, f"broke{name}", TICKETS), within=20)
            for other in {*"abc"} - {name}:
                assert await finds(client, f"broke{other}", 0)
            stranger = tickets["abc".index(name) - 1][0]
            assert (await client.get(f"/tickets/{stranger}")).status_code == 404
            assert await count_by_status(client, "RESPONDED") == len(own)

        await asyncio.gather(*(close_by_clock(client) for client in clients[:-1]))
        assert await count_by_status(clients[-1], "RESPONDED") == TICKETS
    await assert_nothing_is_left_behind(deployment.pgbouncer)


async def open_and_reply(client: Client, name: str) -> list[str]:
    """Open all tickets of an organisation in parallel, and reply to each."""
    opened = await asyncio.gather(*(client.open(f"It broke{name}") for _ in range(TICKETS)))
    assert [answer.status_code for answer in opened] == [201] * TICKETS
    tickets = [str(answer.json()["id"]) for answer in opened]
    replied = await asyncio.gather(*(client.respond(ticket) for ticket in tickets))
    assert [answer.status_code for answer in replied] == [201] * TICKETS
    return tickets


async def finds(client: Client, words: str, count: int) -> bool:
    return len((await client.get("/tickets", q=words, limit=100)).json()["items"]) == count


async def count_by_status(client: Client, status: str) -> int:
    return len((await client.get("/tickets", status=status, limit=100)).json()["items"])


async def close_by_clock(client: Client) -> None:
    """Move the clock of the organisation past the time at which its tickets close."""
    advanced = await client.http.post("/org/clock/advance", json={"days": 31}, headers=client.secret)
    assert advanced.status_code == 200, advanced.text

    async def are_closed() -> bool:
        return await count_by_status(client, "CLOSED") == TICKETS

    assert await eventually(are_closed, within=20, every=0.2)


async def assert_nothing_is_left_behind(pgbouncer: PgBouncer) -> None:
    async with pgbouncer.hold_all_connections() as connections:
        for connection in connections:
            assert await connection.fetch("SELECT name FROM pg_prepared_statements") == []
            assert not await connection.fetchval("SELECT current_setting('app.org_id', true)")
            assert await connection.fetchval(ADVISORY_LOCKS) == 0


async def test_the_service_recovers_when_pgbouncer_was_killed(deployment: Deployment) -> None:
    async with signed_up_client(deployment.service.url) as client:
        await client.ticket()
        deployment.pgbouncer.kill()
        try:
            answers = await asyncio.gather(*(client.open() for _ in range(12)), client.get("/tickets"))
            ready = await client.http.get("/health/ready")
        finally:
            deployment.pgbouncer.start()
        for answer in (*answers, ready):
            assert answer.status_code == 503, answer.text
            assert "Retry-After" in answer.headers
            assert answer.headers["Content-Type"] == "application/problem+json"

        async def is_ready() -> bool:
            return (await client.http.get("/health/ready")).status_code == 200

        assert await eventually(is_ready, within=20)
        before = await client.numbers()
        tickets = await asyncio.gather(*(client.ticket() for _ in range(4)))
        replied = await asyncio.gather(*(client.respond(ticket) for ticket in tickets))
        assert [answer.status_code for answer in replied] == [201] * 4
        assert len(await client.numbers()) == len(before) + 4

        sent_mails = "SELECT count(*) FROM deliveries WHERE org_id = $1 AND status = 'SENT'"

        async def has_sent_all() -> bool:
            sent = await deployment.superuser.fetchval(sent_mails, UUID(client.org_id))
            return bool(sent == len(before) + 4 + 4)  # to the assignee of each ticket, and to requesters

        assert await eventually(has_sent_all, within=60)


# --- deployments that do not expect PgBouncer, or do not need to -----------------------------------------------------


@pytest.mark.parametrize(("command", "ignored"), [("serve", ""), ("worker", SERVICE_PARAMETERS)])
async def test_a_forgotten_setting_stops_the_start_with_a_line_that_names_it(
    own_database: TestServer, command: str, ignored: str
) -> None:
    with running_pgbouncer(own_database, ignored=ignored) as pgbouncer, working_folder() as folder:
        settings = {"database_url": pgbouncer.server.service_url, "secret_key": SECRET_KEY}
        async with run_tessera(command, folder, **settings) as program:
            assert await program.wait_for_exit() == 2
            assert (program.out, program.errors) == ([], [f"tessera: DATABASE_POOLER: {PROBLEM}: {REMEDY}"])
        findings = await run_checks(settings_for(pgbouncer.server, data_dir=folder))
        assert [finding for finding in findings if not finding.is_ok] == [
            Finding(False, "pooler", f"{PROBLEM}: {REMEDY}")
        ]


async def test_the_doctor_passes_with_the_setting(own_database: TestServer, pgbouncer: PgBouncer) -> None:
    details = {
        pgbouncer.server: "connections go through a pooler, as DATABASE_POOLER says",
        own_database: "DATABASE_URL reaches PostgreSQL directly, which is faster without DATABASE_POOLER",
    }
    for server, detail in details.items():
        findings = await run_checks(settings_for(server, database_pooler="transaction"))
        assert all(finding.is_ok for finding in findings), findings
        assert Finding(True, "pooler", detail) in findings


async def test_a_migration_needs_postgresql_itself(own_database: TestServer, pgbouncer: PgBouncer) -> None:
    settings = {
        "database_url": pgbouncer.server.service_url,
        "database_pooler": "transaction",
        "secret_key": SECRET_KEY,
    }
    refusal = f"MIGRATIONS_DATABASE_URL: {PROBLEM}: migrate on PostgreSQL directly"
    with working_folder() as folder:
        async with run_tessera("migrate", folder, **settings) as refused:
            assert await refused.wait_for_exit() == 2
            assert refused.errors == [f"tessera: {refusal}"]
    for _ in range(2):  # the first one has left no prepared statement behind that would fail the second
        with pytest.raises(InvalidSettings, match=refusal):
            await asyncio.to_thread(migrate, pgbouncer.server.owner_url)
    await asyncio.to_thread(migrate, own_database.owner_url, "tessera_service")
