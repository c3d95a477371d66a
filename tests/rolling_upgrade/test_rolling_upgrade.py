"""A rolling upgrade with real processes: web processes of this version serve while the next version is rolled out.

The next version gives tickets a channel in two steps. Its first migration adds the column with a default, so that both
versions can write tickets (expand). A later one, for when no process of this version is left, removes the default
(contract).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conftest import SECRET_KEY
from tests.databases import create_test_database, eventually, superuser_connection
from tests.rolling_upgrade.load import Balancer, running_load
from tests.rolling_upgrade.next_versions import ROOT, create_next_version
from tests.tessera_process import READY, WORKING, Program, run_tessera, signed_up_client, working_folder

if TYPE_CHECKING:
    from tests.databases import Superuser
    from tests.postgres import TestServer

TICKETS_PER_PHASE = 20


@pytest.fixture(scope="module")
async def own_database(server: TestServer) -> TestServer:
    return await create_test_database(server, "rolling")


@asynccontextmanager
async def running(
    command: str, database: TestServer, folder: Path, code: Path = ROOT, *arguments: str
) -> AsyncIterator[Program]:
    """Run a command of the version in the folder `code`."""
    async with run_tessera(
        command, folder, *arguments, pythonpath=code, worker="off", database_pool_size=4, secret_key=SECRET_KEY,
        database_url=database.service_url, migrations_database_url=database.owner_url,
    ) as program:  # fmt: skip
        yield program


async def migrate(database: TestServer, folder: Path, code: Path) -> None:
    async with running("migrate", database, folder, code) as program:
        assert (await program.wait_for_exit(), program.out) == (0, ["The database is up to date."]), program.errors


async def open_tickets(load: Balancer) -> None:
    """Wait until the load has opened some more tickets."""
    count = len(load.tickets) + TICKETS_PER_PHASE

    async def has_opened() -> bool:
        return len(load.tickets) >= count

    assert await eventually(has_opened, within=60)


async def readiness(program: Program) -> tuple[int, str]:
    async with httpx.AsyncClient(base_url=program.url) as http:
        answer = await http.get("/health/ready")
    return answer.status_code, answer.json().get("code", "")


async def test_web_processes_serve_without_a_failed_request_while_the_next_version_is_rolled_out(
    own_database: TestServer,
) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(working_folder())
        second = await asyncio.to_thread(create_next_version, folder / "second", "expand")
        third = await asyncio.to_thread(create_next_version, folder / "third", "expand", "contract")

        async def run(command: str, code: Path = ROOT, *arguments: str) -> Program:
            program = await stack.enter_async_context(running(command, own_database, folder, code, *arguments))
            await program.wait_for_output(READY if command == "serve" else WORKING)
            return program

        old, other_old = await asyncio.gather(run("serve"), run("serve"))
        client = await stack.enter_async_context(signed_up_client(old.url))
        superuser = await stack.enter_async_context(superuser_connection(own_database))
        async with running_load(client, old, other_old) as load:
            await open_tickets(load)
            await migrate(own_database, folder, second)
            await open_tickets(load)

            # One process of this version is restarted beside the new schema; also its own migration does no harm.
            await load.drain(other_old)
            await other_old.stop()
            restarted = await run("serve", ROOT, "--migrate")
            assert restarted.errors == ["tessera: the database has the schema of a newer version: nothing to migrate"]
            new, _ = await asyncio.gather(run("serve", second), run("worker", second))
            load.processes += [restarted, new]
            await open_tickets(load)

            await load.drain(old)
            await old.stop()
            await load.drain(restarted)
            assert await readiness(restarted) == (200, "")
            await open_tickets(load)

            await migrate(own_database, folder, third)
            await open_tickets(load)
            # The new schema does not support this version any more, so that no load balancer sends requests to it.
            assert await readiness(restarted) == (503, "not_migrated")

        assert load.failed == []
        assert set(load.sent) == {program.url for program in (old, other_old, restarted, new)}
        await assert_all_tickets_are_there(superuser, load)
        assert await eventually(lambda: has_caught_up(superuser), within=20)


async def assert_all_tickets_are_there(superuser: Superuser, load: Balancer) -> None:
    """Every acknowledged ticket exists, opened by either version, with dense numbers and a dense history."""
    rows = await superuser.fetch("SELECT id, number, channel FROM tickets ORDER BY number")
    assert {str(row["id"]) for row in rows} >= set(load.tickets)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["channel"] for row in rows} == {"UNKNOWN", "API"}
    assert rows[0]["channel"] == "UNKNOWN"
    assert rows[-1]["channel"] == "API"
    history = await superuser.fetchrow("SELECT count(*) AS events, max(seq) AS last FROM events")
    assert history is not None
    assert history["events"] == history["last"]


async def has_caught_up(superuser: Superuser) -> bool:
    """Return whether the new worker has passed on all events, also those of this version."""
    behind = "SELECT count(*) FROM counters JOIN relays USING (org_id) WHERE last_event <> last_seq"
    return bool(await superuser.fetchval(behind) == 0)
