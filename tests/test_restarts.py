"""What `tessera serve` starts again, and what ends with it: processes killed one at a time, with SIGKILL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.databases import eventually
from tests.tessera_process import (
    READY,
    WORKING,
    Client,
    Program,
    copy_data_dir,
    create_embedded_database,
    has_mails,
    is_running,
    run_tessera,
    server_processes,
    signed_up_client,
    working_folder,
)


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


class Writer:
    """Open tickets one after another, and note the responses."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: list[int] = []
        self.refused = 0
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            answer = await self.client.open()
            if answer.status_code == 201:
                self.acknowledged.append(answer.json()["number"])
                await asyncio.sleep(0.02)
                continue
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
            self.refused += 1
            await asyncio.sleep(0.01)

    async def is_served_after(self, count: int) -> bool:
        assert not self.task.done() or self.task.result()
        return len(self.acknowledged) > count


async def kill_database(data_dir: Path) -> None:
    """Kill the main process of the embedded server. Its other processes notice it a moment later."""
    assert await eventually(lambda: is_up(data_dir))
    os.kill(server_processes(data_dir)[0], signal.SIGKILL)


async def is_up(data_dir: Path) -> bool:
    return bool(server_processes(data_dir))


async def has_recovered(worker: Program) -> bool:
    return any("job_recovered" in line for line in worker.errors)


async def run_command(command: str, folder: Path) -> Program:
    async with run_tessera(command, folder) as program:
        await program.wait_for_exit()
    return program


async def test_a_killed_database_is_started_again_and_loses_nothing(folder: Path) -> None:
    async with run_tessera("serve", folder, worker="off") as service:
        await service.wait_for_output(READY)
        async with run_tessera("worker", folder) as worker:
            await worker.wait_for_output(WORKING)
            await kill_the_database_while_tickets_are_opened(folder, service)
            assert await eventually(lambda: has_recovered(worker), within=30)
            assert await worker.stop() < 10
        ends = [line for line in service.errors if "The embedded PostgreSQL ended (code -9)" in line]
        assert len(ends) == 3
        assert not [line for line in service.errors + worker.errors if "Traceback" in line]
        assert 1 <= len([line for line in worker.errors if "job_failed" in line]) <= 3  # at most one for each outage
        assert await service.stop() < 10
        await asyncio.sleep(0.7)
        assert server_processes(folder / "data") == []


async def kill_the_database_while_tickets_are_opened(folder: Path, service: Program) -> None:
    async with signed_up_client(service.url) as client:
        writer = Writer(client)
        for _ in range(2):
            before = len(writer.acknowledged)
            assert await eventually(lambda: writer.is_served_after(before + 5), within=20)  # noqa: B023 - called at once
            await kill_database(folder / "data")
            before = len(writer.acknowledged) + 1  # one may have been acknowledged before the kill
            assert await eventually(lambda: writer.is_served_after(before), within=20)  # noqa: B023 - called at once
        await kill_database(folder / "data")
        beside = await run_command("doctor", folder)
        assert not [line for line in beside.out if line.startswith("FAIL") and " database " in line], beside.out
        writer.task.cancel()
        await asyncio.wait([writer.task])
        assert writer.refused > 0
        numbers = await client.numbers()
        assert set(writer.acknowledged) <= set(numbers)
        assert numbers == list(range(1, len(numbers) + 1))
        assert await eventually(lambda: has_mails(folder, len(numbers)), within=20)  # one to each assignee


@pytest.mark.parametrize("web_workers", [1, 2])
async def test_everything_ends_with_a_killed_service_and_the_next_one_starts_at_once(
    folder: Path, web_workers: int
) -> None:
    async with run_tessera("serve", folder, web_workers=web_workers) as service:
        await service.wait_for_output(READY)
        async with signed_up_client(service.url) as client:  # its connection stays open
            ticket = await client.ticket()
            pids = service.processes()
            parent = psutil.Process(service.process.pid)
            assert len([child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]) == (
                web_workers if web_workers > 1 else 0
            )
            os.kill(service.process.pid, signal.SIGKILL)
            async with run_tessera("serve", folder, port=service.port, web_workers=web_workers) as again:
                await again.wait_for_output(READY)
                async with httpx.AsyncClient(base_url=again.url, timeout=30) as http:  # its processes are starting
                    answer = await http.get(f"/tickets/{ticket}", headers=client.admin)
                    assert answer.status_code == 200

                async def have_ended() -> bool:
                    return not any(is_running(pid) for pid in pids)

                assert await eventually(have_ended, within=10)
