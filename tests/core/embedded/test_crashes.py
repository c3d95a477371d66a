"""The embedded PostgreSQL after crashes, kills and stops: real servers, processes and signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from app.core.embedded import Server, attach, start
from tests.core.embedded.embedded_server import (
    IS_ROOT,
    START_AND_WAIT,
    START_IN_A_THREAD,
    eventually,
    is_alive,
    query,
    server_pid,
    start_python,
    starter_process,
)


def test_the_server_stops_when_its_starter_is_killed_and_keeps_committed_data(used_folder: Path) -> None:
    with starter_process(START_AND_WAIT, used_folder) as starter:
        address, pid = attach(used_folder), server_pid(used_folder)
        assert address is not None
        query(address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        starter.kill()
    assert eventually(lambda: not is_alive(pid))
    with start(used_folder, durable=False) as server:
        assert query(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_no_acknowledged_commit_is_lost_when_every_process_is_killed(used_folder: Path) -> None:
    def kill_everything(starter: int) -> None:
        server = server_pid(used_folder)
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for pid in (server, *map(int, children), starter):
            os.kill(pid, signal.SIGKILL)

    async def acknowledged_until_the_kill(url: str, starter: int) -> int:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute("CREATE TABLE notes (n int)")
        asyncio.get_running_loop().call_later(0.3, kill_everything, starter)
        n = 0
        with suppress(asyncpg.PostgresError, asyncpg.InternalClientError, OSError):
            while True:
                await connection.execute(f"INSERT INTO notes VALUES ({n})")
                n += 1
        return n

    with starter_process(START_AND_WAIT.replace(", durable=False", ""), used_folder) as starter:
        address = attach(used_folder)
        assert address is not None
        acknowledged = asyncio.run(acknowledged_until_the_kill(address.owner_url, starter.pid))
    assert acknowledged > 0
    with start(used_folder) as server:
        kept = query(server.address.service_url, "SELECT count(DISTINCT n) FROM notes")
        assert kept in {acknowledged, acknowledged + 1}  # the last commit's response may have been lost


def test_a_server_that_outlived_its_starter_is_replaced(used_folder: Path) -> None:
    with starter_process(START_IN_A_THREAD, used_folder) as starter:  # the kernel ties children to the main thread only
        address, orphan = attach(used_folder), server_pid(used_folder)
        assert address is not None
        query(address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        starter.kill()
    assert is_alive(orphan)
    assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert server_pid(used_folder) != orphan
        assert not is_alive(orphan)
        assert query(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(used_folder: Path) -> None:
    ignore_ctrl_c = "import signal; signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True)); "
    with starter_process(ignore_ctrl_c + START_AND_WAIT, used_folder, start_new_session=True) as starter:
        pid = server_pid(used_folder)
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.stdout is not None
        assert starter.stdout.readline() == "heard\n"
        time.sleep(0.3)  # a server that received the signal would have stopped
        address = attach(used_folder)
        assert address is not None
        assert query(address.service_url, "SELECT 1") == 1
    assert eventually(lambda: not is_alive(pid))


def test_stop_is_quick_while_clients_are_connected(used_folder: Path) -> None:
    server = start(used_folder, durable=False)
    pid = server_pid(used_folder)

    async def stop_meanwhile() -> float:
        connection = await asyncpg.connect(server.address.service_url.replace("+asyncpg", ""))
        started = time.monotonic()
        server.stop()
        connection.terminate()
        return time.monotonic() - started

    assert asyncio.run(stop_meanwhile()) < 2
    assert not is_alive(pid)
    server.stop()


def test_a_crashed_server_can_be_stopped_and_started_again(used_folder: Path) -> None:
    with start(used_folder, durable=False) as server:
        query(server.address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        pid = server_pid(used_folder)
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not is_alive(pid))
        assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert query(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_start_waits_for_a_busy_child_of_a_killed_server(used_folder: Path) -> None:
    busy = "DO $$ BEGIN WHILE clock_timestamp() < now() + interval '1.5 seconds' LOOP END LOOP; END $$"

    async def child_of_a_killed_server(server: Server) -> int:
        connection = await asyncpg.connect(server.address.service_url.replace("+asyncpg", ""))
        child = connection.get_server_pid()
        statement = asyncio.create_task(connection.execute(busy))
        await asyncio.sleep(0.2)
        os.kill(server_pid(used_folder), signal.SIGKILL)
        statement.cancel()
        await asyncio.wait([statement])
        connection.terminate()
        await asyncio.sleep(0)  # for the loop to close its socket
        return child

    with start(used_folder, durable=False) as server:
        child = asyncio.run(child_of_a_killed_server(server))
    assert is_alive(child)
    with start(used_folder, durable=False) as server:
        assert not is_alive(child)
        assert query(server.address.service_url, "SELECT 1") == 1


def test_a_killed_first_start_is_repeated(folder: Path) -> None:
    def is_being_created() -> bool:
        return any(folder.glob("postgres.new-*/*/base"))

    for condition in (is_being_created, (folder / "postgres").exists):
        with start_python(START_AND_WAIT, folder) as starter:
            assert eventually(condition)
            starter.kill()
    with start(folder, durable=False) as server:
        assert query(server.address.service_url, "SELECT 1") == 1
    start(folder, durable=False).stop()  # removes what the killed process was still writing
    assert not list(folder.glob("postgres.new-*"))


def test_a_stale_pid_file_never_stops_an_unrelated_process(used_folder: Path) -> None:
    pid_file, socket_lock = used_folder / "postgres/postmaster.pid", used_folder / "socket/.s.PGSQL.5432.lock"
    with start(used_folder, durable=False):
        content, owner = pid_file.read_text(), pid_file.stat()
    options: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **options) as unrelated:
        for path in (pid_file, socket_lock):
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join([str(unrelated.pid), *content.split("\n")[1:]]))
            os.chown(path, owner.st_uid, owner.st_gid)
        (used_folder / "postgres.json").unlink()  # single-user mode must ignore the pid file too
        with start(used_folder, durable=False) as server:
            assert query(server.address.service_url, "SELECT 1") == 1
        assert unrelated.poll() is None
        unrelated.kill()


def test_an_empty_pid_file_does_not_prevent_a_start(used_folder: Path) -> None:
    start(used_folder, durable=False).stop()
    (used_folder / "postgres/postmaster.pid").touch()
    start(used_folder, durable=False).stop()
