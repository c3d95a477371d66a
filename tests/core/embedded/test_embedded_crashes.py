"""The embedded PostgreSQL when something ends it: real servers, real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from app.core.embedded import Server, attach, start
from tests.core.embedded.embedded_server import (
    AS_ROOT,
    START_AND_WAIT,
    START_IN_A_THREAD,
    a_starter,
    ask,
    eventually,
    is_alive,
    python,
    server_pid,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_server_ends_with_a_killed_starter_and_loses_nothing(used_folder: Path) -> None:
    with a_starter(START_AND_WAIT, used_folder) as starter:
        address, pid = attach(used_folder), server_pid(used_folder)
        assert address is not None
        ask(address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        starter.kill()
    assert eventually(lambda: not is_alive(pid))
    with start(used_folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_nothing_acknowledged_is_lost_when_everything_is_killed(used_folder: Path) -> None:
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

    with a_starter(START_AND_WAIT.replace(", durable=False", ""), used_folder) as starter:
        address = attach(used_folder)
        assert address is not None
        acknowledged = asyncio.run(acknowledged_until_the_kill(address.owner_url, starter.pid))
    assert acknowledged > 0
    with start(used_folder) as server:
        kept = ask(server.address.service_url, "SELECT count(DISTINCT n) FROM notes")
        assert kept in {acknowledged, acknowledged + 1}  # one may have been committed whose answer was lost


def test_a_server_that_outlived_its_starter_is_replaced(used_folder: Path) -> None:
    with a_starter(START_IN_A_THREAD, used_folder) as starter:  # where the kernel cannot tie the one to the other
        address, orphan = attach(used_folder), server_pid(used_folder)
        assert address is not None
        ask(address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        starter.kill()
    assert is_alive(orphan)
    assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert server_pid(used_folder) != orphan
        assert not is_alive(orphan)
        assert ask(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(used_folder: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, lambda *_: print('heard', flush=True)); "
    with a_starter(deaf + START_AND_WAIT, used_folder, start_new_session=True) as starter:
        pid = server_pid(used_folder)
        os.killpg(starter.pid, signal.SIGINT)
        assert starter.stdout is not None
        assert starter.stdout.readline() == "heard\n"
        time.sleep(0.3)  # a server that had heard it would be gone
        address = attach(used_folder)
        assert address is not None
        assert ask(address.service_url, "SELECT 1") == 1
    assert eventually(lambda: not is_alive(pid))


def test_a_stop_is_quick_and_final_with_clients_connected(used_folder: Path) -> None:
    server = start(used_folder, durable=False)
    pid = server_pid(used_folder)

    async def stop_meanwhile() -> float:
        connection = await asyncpg.connect(server.address.service_url.replace("+asyncpg", ""))
        begun = time.monotonic()
        server.stop()
        connection.terminate()
        return time.monotonic() - begun

    assert asyncio.run(stop_meanwhile()) < 2
    assert not is_alive(pid)
    server.stop()


def test_a_server_that_died_on_its_own_can_be_stopped_and_started_again(used_folder: Path) -> None:
    with start(used_folder, durable=False) as server:
        ask(server.address.owner_url, "CREATE TABLE notes AS SELECT 'committed' AS body")
        pid = server_pid(used_folder)
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not is_alive(pid))
        assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT body FROM notes") == "committed"


def test_a_start_waits_for_the_busy_child_of_a_killed_server(used_folder: Path) -> None:
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
        assert ask(server.address.service_url, "SELECT 1") == 1


def test_a_first_start_that_was_killed_is_done_again(folder: Path) -> None:
    in_the_making: Callable[[], bool] = lambda: any(folder.glob("postgres.new-*/*/base"))  # noqa: E731 - a moment, as the other one is
    for moment in (in_the_making, (folder / "postgres").exists):
        with python(START_AND_WAIT, folder) as starter:
            assert eventually(moment)
            starter.kill()
    with start(folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT 1") == 1
    start(folder, durable=False).stop()  # what was still being written then is cleared up now
    assert not list(folder.glob("postgres.new-*"))


def test_a_stale_pid_file_that_names_a_strangers_process_is_no_obstacle_and_no_harm(used_folder: Path) -> None:
    pid_file, socket_lock = used_folder / "postgres/postmaster.pid", used_folder / "socket/.s.PGSQL.5432.lock"
    with start(used_folder, durable=False):
        content, owner = pid_file.read_text(), pid_file.stat()
    options: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **options) as stranger:
        for path in (pid_file, socket_lock):
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join([str(stranger.pid), *content.split("\n")[1:]]))
            os.chown(path, owner.st_uid, owner.st_gid)
        (used_folder / "postgres.json").unlink()  # so that single-user mode has to get past it as well
        with start(used_folder, durable=False) as server:
            assert ask(server.address.service_url, "SELECT 1") == 1
        assert stranger.poll() is None
        stranger.kill()


def test_an_empty_pid_file_after_a_power_failure_is_no_obstacle(used_folder: Path) -> None:
    start(used_folder, durable=False).stop()
    (used_folder / "postgres/postmaster.pid").touch()
    start(used_folder, durable=False).stop()
