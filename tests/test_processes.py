"""`tessera serve` with the embedded database: started, stopped, killed and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from tests.conftest import connect
from tests.databases import eventually
from tests.tessera_process import (
    READY,
    Client,
    Program,
    copy_data_dir,
    create_embedded_database,
    has_mails,
    is_running,
    run_tessera,
    signed_up_client,
    working_folder,
)

STOP_TIMEOUT = 10.0  # seconds
START_TIMEOUT = 5.0


@pytest.fixture(scope="module")
async def prepared_data_dir() -> AsyncIterator[Path]:
    """A `DATA_DIR` with a migrated database."""
    with working_folder() as folder:
        await asyncio.to_thread(create_embedded_database, folder / "data")
        yield folder / "data"


@pytest.fixture
def folder(prepared_data_dir: Path) -> Iterator[Path]:
    with working_folder() as folder:
        copy_data_dir(prepared_data_dir, folder / "data")
        yield folder


@asynccontextmanager
async def serving(folder: Path, **settings: object) -> AsyncIterator[Program]:
    async with run_tessera("serve", folder, **settings) as program:
        await program.wait_for_output(READY)
        yield program


async def all_end(pids: set[int]) -> bool:
    """Return whether all these processes end; Python's helper processes end shortly after their parent."""

    async def have_ended() -> bool:
        return not any(is_running(pid) for pid in pids)

    return await eventually(have_ended, within=1)


def superuser_url(data_dir: Path) -> str:
    passwords = json.loads((data_dir / "postgres.json").read_text())
    url = make_url(f"postgresql+asyncpg://postgres@/tessera?host={data_dir / 'socket'}")
    return url.set(password=passwords["postgres"]).render_as_string(hide_password=False)


@asynccontextmanager
async def half_sent_request(program: Program) -> AsyncIterator[asyncio.StreamWriter]:
    """Send a request whose body is incomplete."""
    _, writer = await asyncio.open_connection("127.0.0.1", program.port)
    head = "POST /auth/org/signup HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"name": "Gro')
    await writer.drain()
    try:
        yield writer
    finally:
        writer.close()


async def test_serve_starts_in_an_empty_folder_prints_a_banner_and_restarts_quickly() -> None:
    with working_folder() as folder:
        async with serving(folder) as program:
            assert program.out == [
                f"Tessera is ready: {program.url}/docs",
                f"Mail is written to {folder}/data/mail/*.eml; the worker runs in this process. Press Ctrl-C to stop.",
            ]
            async with signed_up_client(program.url) as client:
                assert (await client.http.get("/docs")).status_code == 200
                assert (await client.http.get("/health/ready")).status_code == 200
                ticket = await client.ticket()
                assert (await client.respond(ticket)).status_code == 201

            assert await eventually(lambda: has_mails(folder, 2))  # to the assignee, and to the requester
            key = folder / "data/secret_key"
            assert key.stat().st_mode & 0o077 == 0
            assert len(key.read_text()) >= 32
            assert await program.stop() < STOP_TIMEOUT
            assert program.process.returncode == 0

        limit = max(START_TIMEOUT, 3 * await measure_imports())
        durations: list[float] = []
        while not durations or (durations[-1] >= limit and len(durations) < 3):  # other programs may slow it down
            async with run_tessera("serve", folder) as again:
                durations.append(await again.wait_for_output(READY))
                async with httpx.AsyncClient(base_url=again.url) as http:
                    assert (await http.get(f"/tickets/{ticket}", headers=client.admin)).status_code == 200
                await again.stop()
        assert durations[-1] < limit


async def measure_imports() -> float:
    """Return how long this machine takes at the moment to import the service, in seconds."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import app.main")
    assert await process.wait() == 0
    return time.monotonic() - started


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_processes_in_time_with_requests_in_flight(folder: Path, how: signal.Signals) -> None:
    async with serving(folder) as program, signed_up_client(program.url) as client, half_sent_request(program):
        ticket = await client.ticket()
        superuser = await connect(superuser_url(program.data_dir))
        try:
            transaction = superuser.transaction()
            await transaction.start()
            await superuser.execute("SELECT 1 FROM tickets FOR UPDATE")  # so that the reply waits
            slow = asyncio.create_task(client.respond(ticket))
            await asyncio.sleep(0.3)
            assert not slow.done()

            pids = program.processes()
            assert len(pids) > 5
            assert await program.stop(how) < STOP_TIMEOUT
        finally:
            superuser.terminate()
        await asyncio.wait([slow])
        assert slow.exception() is not None or slow.result().status_code >= 500
    assert await all_end(pids)
    assert program.process.returncode == 0


async def test_a_request_in_flight_is_finished_before_the_service_stops(folder: Path) -> None:
    async with serving(folder) as program, signed_up_client(program.url) as client:
        ticket = await client.ticket()
        superuser = await connect(superuser_url(program.data_dir))
        transaction = superuser.transaction()
        await transaction.start()
        await superuser.execute("SELECT 1 FROM tickets FOR UPDATE")
        slow = asyncio.create_task(client.respond(ticket))
        await asyncio.sleep(0.3)
        stopping = asyncio.create_task(program.stop())
        await asyncio.sleep(0.5)
        await transaction.rollback()
        await superuser.close()

        assert (await slow).status_code == 201
        assert await stopping < STOP_TIMEOUT


async def test_no_acknowledged_ticket_is_lost_when_every_process_is_killed(folder: Path) -> None:
    acknowledged: list[str] = []

    async def hammer(client: Client) -> None:
        while True:
            answer = await client.open()
            assert answer.status_code == 201
            acknowledged.append(answer.json()["id"])

    async def enough() -> bool:
        return len(acknowledged) >= 60

    async with serving(folder) as program, signed_up_client(program.url) as client:
        hammers = [asyncio.create_task(hammer(client)) for _ in range(4)]
        assert await eventually(enough, within=30)
        await program.kill()
        await asyncio.wait(hammers)

    async with run_tessera("serve", folder) as program:
        assert await program.wait_for_output(READY) < 2 * START_TIMEOUT
        async with httpx.AsyncClient(base_url=program.url) as http:
            again = replace(client, http=http)
            for ticket in acknowledged:
                assert (await again.get(f"/tickets/{ticket}")).status_code == 200
            numbers = await again.numbers()
            assert len(numbers) >= len(acknowledged)
            assert numbers == list(range(1, len(numbers) + 1))


async def test_a_second_service_fails_with_one_line_and_does_not_disturb_the_first(folder: Path) -> None:
    async with serving(folder) as program:
        async with run_tessera("serve", folder) as second:
            assert await second.wait_for_exit() == 2
            assert second.errors == [
                f"tessera: another Tessera already runs in {folder}/data: stop it, or set DATA_DIR to another folder"
            ]
            assert second.out == []
        for workers in (1, 2):
            async with run_tessera("serve", folder / "elsewhere", port=program.port, web_workers=workers) as second:
                assert await second.wait_for_exit() == 2
                (line,) = second.errors
                assert line.startswith(f"tessera: HOST, PORT: cannot serve on 127.0.0.1:{program.port} (")
                assert second.out == []
        assert not (folder / "elsewhere/data").exists()
        async with signed_up_client(program.url) as client:
            await client.ticket()


async def test_several_web_workers_share_requests_and_metrics_and_stop_together(folder: Path) -> None:
    async with serving(folder, web_workers=2) as program:
        async with signed_up_client(program.url) as client:
            await asyncio.gather(*(client.open() for _ in range(20)))
            for _ in range(40):
                async with httpx.AsyncClient(base_url=program.url) as http:
                    assert (await http.get("/tickets", headers=client.secret)).status_code == 200
            metrics = (await client.http.get("/metrics")).text
            served = {
                line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in metrics.splitlines()
                if line[0] != "#"
            }
            assert served['tessera_http_requests_total{method="GET",route="/tickets",status="200"}'] == 40
            assert served['tessera_http_requests_total{method="POST",route="/tickets",status="201"}'] == 20
            assert await eventually(lambda: both_serve(program), within=20)  # the second may start a little later

            assert await eventually(lambda: has_mails(folder, 20))
        pids = program.processes()
        assert await program.stop() < STOP_TIMEOUT
        assert await all_end(pids)


async def both_serve(program: Program) -> bool:
    """Return whether each of the two processes accepts some of many connections."""
    writers = [(await asyncio.open_connection("127.0.0.1", program.port))[1] for _ in range(60)]
    try:
        await asyncio.sleep(0.2)
        held = program.connections()
        return len(held) == 2 and all(held.values())
    finally:
        for writer in writers:
            writer.close()
