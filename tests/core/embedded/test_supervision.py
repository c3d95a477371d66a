"""An embedded PostgreSQL that ends by itself is started again: real servers, processes and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

import asyncpg
import pytest

from app.core.embedded import Server, attach, start
from app.core.embedded.supervision import FIRST_DELAY, MAX_DELAY, choose_delay
from tests.core.embedded.embedded_server import (
    START,
    START_AND_WAIT,
    eventually,
    is_alive,
    query,
    server_pid,
    start_error,
    starter_process,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(used_folder: Path) -> Iterator[Server]:
    with start(used_folder, durable=False) as running:
        running.keep_running()
        yield running


def runs_again(folder: Path, killed: int) -> bool:
    try:
        return server_pid(folder) != killed and attach(folder) is not None
    except (OSError, ValueError):
        return False


def kill_server(folder: Path) -> int:
    pid = server_pid(folder)
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_killed_server_runs_again_with_all_committed_data_and_is_logged(
    used_folder: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    query(server.address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
    for restarts in (1, 2):
        killed = kill_server(used_folder)
        assert eventually(lambda: runs_again(used_folder, killed) and len(caplog.messages) == 2 * restarts)  # noqa: B023 - called at once
        assert query(server.address.service_url, "SELECT body FROM notes") == "committed"
    ended, started, ended_again, _ = caplog.messages
    assert ended == "The embedded PostgreSQL ended (code -9). It starts again in 0 s."
    assert started.startswith("The embedded PostgreSQL runs again after ")
    assert ended_again == f"The embedded PostgreSQL ended (code -9). It starts again in {FIRST_DELAY} s."


def test_a_server_whose_children_are_busy_after_the_kill_runs_again(used_folder: Path, server: Server) -> None:
    busy = "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '1 seconds' LOOP END LOOP; END $$"

    async def kill_beside_a_busy_child() -> int:
        connection = await asyncpg.connect(server.address.service_url.replace("+asyncpg", ""))
        statement = asyncio.create_task(connection.execute(busy))
        await asyncio.sleep(0.2)
        killed = kill_server(used_folder)
        statement.cancel()
        await asyncio.wait([statement])
        connection.terminate()
        await asyncio.sleep(0)
        return killed

    killed = asyncio.run(kill_beside_a_busy_child())
    assert eventually(lambda: runs_again(used_folder, killed))
    assert query(server.address.service_url, "SELECT 1") == 1


def test_the_folder_stays_locked_and_others_wait_for_the_server(used_folder: Path, server: Server) -> None:
    killed = kill_server(used_folder)
    assert start_error(used_folder).startswith("another Tessera already runs in ")
    assert attach(used_folder, timeout=5) == server.address
    assert server_pid(used_folder) != killed


def test_nothing_is_started_again_after_a_stop(
    used_folder: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    killed = kill_server(used_folder)
    assert eventually(lambda: runs_again(used_folder, killed))
    pid = server_pid(used_folder)
    kill_server(used_folder)
    assert eventually(lambda: not is_alive(pid))
    server.stop()
    time.sleep(2 * FIRST_DELAY)
    assert attach(used_folder) is None
    assert sum("runs again" in message for message in caplog.messages) <= 2
    start(used_folder, durable=False).stop()  # the folder is free


def test_a_server_that_cannot_start_is_tried_at_growing_intervals(
    used_folder: Path, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    settings = used_folder / "postgres/postgresql.conf"
    valid = settings.read_text()
    settings.write_text("no such thing\n")
    killed = kill_server(used_folder)
    assert eventually(lambda: len(caplog.messages) >= 3)
    settings.write_text(valid)
    assert eventually(lambda: runs_again(used_folder, killed))
    for message, delay in zip(caplog.messages, (0, FIRST_DELAY, 2 * FIRST_DELAY), strict=False):
        assert message.endswith(f"in {delay:g} s.")
        assert "\n" not in message
    assert "contains errors" in caplog.messages[1]
    assert query(server.address.service_url, "SELECT 1") == 1


def test_the_delay_grows_up_to_a_limit() -> None:
    delays = [choose_delay(failures) for failures in range(20)]
    assert delays == sorted(delays)
    assert delays[0] == 0
    assert delays[-1] == MAX_DELAY


def test_a_server_that_was_started_again_stops_when_its_starter_is_killed(used_folder: Path) -> None:
    code = START_AND_WAIT.replace("; print", "; server.keep_running(); print")
    assert code.startswith(START)
    with starter_process(code, used_folder) as starter:
        killed = kill_server(used_folder)
        assert eventually(lambda: runs_again(used_folder, killed))
        pid = server_pid(used_folder)
        starter.kill()
    assert eventually(lambda: not is_alive(pid))
