"""PgBouncer in transaction mode as a real process, in front of the tests' PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.postgres import TestServer, create_folder
from tests.tessera_process import free_port

if TYPE_CHECKING:
    from app.core.database.pool import Driver

# Debian installs it where only root looks.
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SKIP_REASON = "needs PgBouncer: apt-get install pgbouncer"
SERVER_CONNECTIONS = 3
START_TIMEOUT = 10.0  # seconds

# Each transaction gets the connection that has been idle for longest, so that clients change connections all the time.
CONFIGURATION = """
[databases]
* = host={socket_folder} port={socket_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/userlist.txt
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
server_round_robin = 1
server_login_retry = 1
ignore_startup_parameters = {ignored}
"""


# What PgBouncer must ignore for a service without DATABASE_POOLER to connect at all.
SERVICE_PARAMETERS = "jit, statement_timeout, lock_timeout, idle_in_transaction_session_timeout"


@dataclass
class PgBouncer:
    """A PgBouncer that can be killed and started again.

    Attributes:
        server: the URLs of a test server, with that of the service leading through PgBouncer.
    """

    folder: Path
    socket_folder: Path
    port: int
    server: TestServer
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        assert PGBOUNCER is not None
        # As the server's system user: it refuses to be root, and only that user may enter the folder of the socket.
        owner = self.socket_folder.stat()
        user: dict[str, Any] = (
            {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PGBOUNCER, self.folder / "pgbouncer.ini"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **user,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts_connections():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @asynccontextmanager
    async def hold_all_connections(self) -> AsyncIterator[list[Driver]]:
        """Occupy each connection of PgBouncer to the server with a transaction of another client."""
        url = self.server.service_url.replace("+asyncpg", "")
        async with AsyncExitStack() as stack:
            clients = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(SERVER_CONNECTIONS)]
            for client in clients:
                stack.push_async_callback(client.close)
                await client.execute("BEGIN")
            yield clients
            for client in clients:
                await client.execute("ROLLBACK")  # or else PgBouncer closes its connection together with the client's

    def _accepts_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_pgbouncer(server: TestServer, *, ignored: str = "") -> Iterator[PgBouncer]:
    """Run PgBouncer before a test server; skip the test if it is not installed.

    Args:
        ignored: the start-up parameters that it ignores instead of refusing them, separated by commas.
    """
    if PGBOUNCER is None:
        if os.environ.get("TESSERA_CI"):
            pytest.fail(SKIP_REASON)
        pytest.skip(SKIP_REASON)
    folder = create_folder()
    try:
        pgbouncer = _configure(folder, server, ignored)
        pgbouncer.start()
        try:
            yield pgbouncer
        finally:
            pgbouncer.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, server: TestServer, ignored: str) -> PgBouncer:
    port, service, owner = free_port(), make_url(server.service_url), make_url(server.owner_url)
    socket_folder = Path(str(service.query["host"]))
    # PostgreSQL may trust its socket, but PgBouncer wants a password.
    passwords = {url.username: url.password or "any" for url in (service, owner)}
    (folder / "userlist.txt").write_text("".join(f'"{name}" "{value}"\n' for name, value in passwords.items()))
    (folder / "pgbouncer.ini").write_text(
        CONFIGURATION.format(
            socket_folder=socket_folder, socket_port=service.query.get("port", service.port or 5432),
            port=port, folder=folder, ignored=ignored, pool_size=SERVER_CONNECTIONS,
        )
    )  # fmt: skip
    for path in folder.iterdir():
        path.chmod(0o644)
    through = [
        url.set(host="127.0.0.1", port=port, query={}, password=passwords[url.username]) for url in (service, owner)
    ]
    service_url, owner_url = (url.render_as_string(hide_password=False) for url in through)
    return PgBouncer(folder, socket_folder, port, replace(server, service_url=service_url, owner_url=owner_url))
