"""The embedded PostgreSQL: real servers, real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.embedded import EmbeddedUnavailable, Server, attach, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # where making the 1,000 files of a cluster takes no time
FOLDERS = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30 else Path("/tmp")
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only root's server has to be another user")

START = "import sys; from pathlib import Path; from app.core.embedded import *; folder = Path(sys.argv[1]); "
START_AND_WAIT = START + "server = start(folder, durable=False); print('up', flush=True); sys.stdin.read()"
START_IN_A_THREAD = (
    "import threading; "
    + START
    + "t = threading.Thread(target=start, args=[folder], kwargs={'durable': False}); t.start(); t.join(); "
    + "print('up', flush=True); sys.stdin.read()"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for DATA_DIR that any user may pass through; pytest's own are closed to root's server."""
    with a_folder() as made:
        yield made


@pytest.fixture(scope="module")
def a_cluster() -> Iterator[Path]:
    """A folder that was in use once: making it takes seconds, copying it does not."""
    with a_folder() as made:
        start(made, durable=False).stop()
        yield made


@pytest.fixture
def used_folder(folder: Path, a_cluster: Path) -> Path:
    subprocess.run(["cp", "-a", a_cluster, folder], check=True)
    return folder


@pytest.fixture
def server(used_folder: Path) -> Iterator[Server]:
    with start(used_folder, durable=False) as running:
        yield running


@contextmanager
def a_folder() -> Iterator[Path]:
    outer = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=FOLDERS))
    outer.chmod(0o711)
    yield outer / "data"
    outer.chmod(0o711)
    shutil.rmtree(outer)


def ask(url: str, *statements: str) -> Any:
    """Run statements over a connection of their own; returns the last one's first value."""

    async def run() -> Any:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


def refusal(folder: Path) -> str:
    """What `start` says as it refuses: one line."""
    with pytest.raises(EmbeddedUnavailable) as caught:
        start(folder, durable=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def python(code: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, folder],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


@contextmanager
def a_starter(code: str, folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Another process, once the server that it starts is up; killed in the end, if it was not before."""
    with python(code, folder, **options) as starter:
        try:
            assert starter.stdout is not None
            assert starter.stdout.readline() == "up\n"
            yield starter
        finally:
            starter.kill()


def server_pid(folder: Path) -> int:
    return int((folder / "postgres/postmaster.pid").read_text().split("\n")[0])


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_data_survives_a_restart(folder: Path) -> None:
    with start(folder) as first:
        ask(first.address.owner_url, "CREATE TABLE notes (body text)", "INSERT INTO notes VALUES ('kept')")
    with start(folder) as second:
        assert ask(second.address.service_url, "SELECT body FROM notes") == "kept"
        assert second.address == first.address
        assert ask(second.address.owner_url, "SELECT current_setting('fsync')") == "on"


def test_both_roles_are_bound_by_row_level_security(server: Server) -> None:
    powers = (
        "SELECT rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    for url, role in (
        (server.address.service_url, "tessera_service"),
        (server.address.owner_url, "tessera_owner"),
    ):
        assert ask(url, "SELECT current_user") == role
        assert ask(url, powers) is False


def test_the_service_uses_the_owners_tables_but_makes_and_drops_none(server: Server) -> None:
    service, owner = server.address.service_url, server.address.owner_url
    ask(owner, "CREATE TABLE notes (id serial PRIMARY KEY, body text)")
    ask(service, "INSERT INTO notes (body) VALUES ('a'), ('b')", "UPDATE notes SET body = 'c'")
    assert ask(service, "DELETE FROM notes WHERE id = 1", "SELECT string_agg(body, ',') FROM notes") == "c"
    for forbidden in ("CREATE TABLE mine ()", "DROP TABLE notes", "TRUNCATE notes", "CREATE SCHEMA mine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            ask(service, forbidden)


def test_sqlalchemy_understands_the_address_and_a_wrong_password_is_refused(server: Server) -> None:
    async def lowered() -> Any:
        engine = create_async_engine(server.address.service_url)
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT to_tsvector('simple', 'ÄRGER')::text"))
        await engine.dispose()
        return found

    assert asyncio.run(lowered()) == "'ärger':1"  # letters beyond ASCII are letters
    name, _, rest = server.address.service_url.partition("tessera_service:")
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(f"{name}tessera_service:wrong@{rest.partition('@')[2]}", "SELECT 1")


def test_passwords_and_log_are_for_their_owner_only_and_never_shown(folder: Path, server: Server) -> None:
    for name in ("postgres.json", "postgres.log", "postgres.lock"):
        found = (folder / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())
    for inside in ("postgres", "socket"):
        assert stat.S_IMODE((folder / inside).stat().st_mode) == 0o700
    assert "tessera_service" not in repr(server.address)
    environment = Path(f"/proc/{server_pid(folder)}/environ").read_text()
    assert "HOME=" not in environment


def test_what_people_wrote_does_not_reach_the_log(folder: Path, server: Server) -> None:
    ask(server.address.owner_url, "CREATE TABLE people (email text PRIMARY KEY)")
    with pytest.raises(asyncpg.UniqueViolationError):
        ask(server.address.owner_url, *["INSERT INTO people VALUES ('ada@example.com')"] * 2)
    log = (folder / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "ada@example.com" not in log


def test_a_second_start_in_the_same_folder_is_refused_in_one_line(folder: Path, server: Server) -> None:
    assert refusal(folder) == (f"another Tessera already runs in {folder}: stop it, or set DATA_DIR to another folder")
    assert ask(server.address.service_url, "SELECT 1") == 1


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


def test_attach_finds_a_server_only_while_it_runs(used_folder: Path) -> None:
    assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert attach(used_folder) == server.address
        other = python(START + "print(attach(folder).service_url, end='')", used_folder)
        assert other.communicate()[0] == server.address.service_url
    assert attach(used_folder) is None


@pytest.mark.parametrize("name", ["n" * 150, "mine, yours: ünd 'more' %41"])
def test_any_path_will_do(folder: Path, name: str) -> None:
    folder = folder.parent / name
    with start(folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT 1") == 1
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
        assert sockets.parent == Path("/tmp")
        assert attach(folder) == server.address
    assert not sockets.exists()


def test_a_socket_folder_of_somebody_else_is_refused(folder: Path) -> None:
    folder = folder.parent / ("n" * 150)
    with start(folder, durable=False) as server:
        sockets = Path(server.address.service_url.partition("host=")[2].partition("&")[0])
    sockets.symlink_to("/")
    try:
        assert f"{sockets}" in refusal(folder)
    finally:
        sockets.unlink()


def test_a_first_start_that_was_killed_is_done_again(folder: Path) -> None:
    in_the_making: Callable[[], bool] = lambda: any(folder.glob("postgres.new-*/*/base"))  # noqa: E731
    for moment in (in_the_making, (folder / "postgres").exists):
        with python(START_AND_WAIT, folder) as starter:
            assert eventually(moment)
            starter.kill()
    with start(folder, durable=False) as server:
        assert ask(server.address.service_url, "SELECT 1") == 1
    start(folder, durable=False).stop()  # what was still being written then is cleared up now
    assert not list(folder.glob("postgres.new-*"))


@pytest.mark.parametrize("content", [None, "", '{"postgres": "x"}'])
def test_lost_passwords_are_made_anew_and_the_data_kept(used_folder: Path, content: str | None) -> None:
    with start(used_folder, durable=False) as server:
        ask(server.address.owner_url, "CREATE TABLE notes AS SELECT 'kept' AS body")
    (used_folder / "postgres.json").unlink()
    if content is not None:
        (used_folder / "postgres.json").write_text(content)
    with start(used_folder, durable=False) as renewed:
        assert renewed.address != server.address
        assert ask(renewed.address.service_url, "SELECT body FROM notes") == "kept"
    assert stat.S_IMODE((used_folder / "postgres.json").stat().st_mode) == 0o600


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


def test_a_folder_of_another_major_version_is_refused_in_one_line(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/PG_VERSION").write_text("9\n")
    folder.chmod(0o711)
    assert f"{folder}/postgres is of PostgreSQL 9, and this is PostgreSQL 1" in refusal(folder)


def test_a_server_that_gives_up_is_quoted_and_frees_the_folder(used_folder: Path) -> None:
    start(used_folder, durable=False).stop()
    settings = used_folder / "postgres/postgresql.conf"
    good = settings.read_text()
    settings.write_text("no such thing\n")
    said = refusal(used_folder)
    assert f'FATAL:  configuration file "{settings}" contains errors' in said
    assert f"see {used_folder}/postgres.log" in said
    settings.write_text(good)
    start(used_folder, durable=False).stop()


def test_a_data_dir_that_is_a_file_is_refused_in_one_line(folder: Path) -> None:
    folder.touch()
    assert "set DATA_DIR to another folder" in refusal(folder)


def test_without_the_package_the_extra_is_named(folder: Path) -> None:
    code = START.replace("import *", "import start, EmbeddedUnavailable") + (
        "\ntry: start(folder)\nexcept EmbeddedUnavailable as error: print(error)"
    )
    bare = subprocess.run(
        [sys.executable, "-S", "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert bare.stdout == "there is no PostgreSQL here: install the extra tessera[embedded], or set DATABASE_URL\n"
    assert not folder.exists()


@only_root
def test_roots_server_is_an_unprivileged_user(folder: Path, server: Server) -> None:
    status = Path(f"/proc/{server_pid(folder)}/status").read_text().split("\n")
    ids = {line.split(":")[0]: set(line.split()[1:]) for line in status if line.startswith(("Uid", "Gid", "Groups"))}
    assert "0" not in ids["Uid"] | ids["Gid"] | ids["Groups"]
    assert ask(server.address.service_url, "SELECT 1") == 1


@only_root
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_that_root_makes_can_be_passed_through(folder: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        start(folder / "deep" / "er", durable=False).stop()
    finally:
        os.umask(before)


@only_root
def test_a_data_dir_that_the_server_cannot_enter_is_refused_in_one_line(folder: Path) -> None:
    folder.parent.chmod(0o700)
    said = refusal(folder)
    assert said.startswith("PostgreSQL must run as '")
    assert said.endswith(
        f"', who cannot enter {folder.parent}: set DATA_DIR to a folder that others may enter "
        "(such as /var/lib/tessera), or set DATABASE_URL"
    )


@only_root
def test_another_user_is_told_that_the_folder_is_not_theirs(folder: Path, server: Server) -> None:
    assert attach(folder) == server.address
    nobody = pwd.getpwnam("nobody")
    become = f"import os; os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})"
    code = f"{START}\n{become}\ntry: attach(folder)\nexcept EmbeddedUnavailable as error: print(error)"
    said = python(code, folder).communicate()[0]
    assert said.count("\n") == 1
    assert f"Permission denied: {folder}/postgres.lock" in said
