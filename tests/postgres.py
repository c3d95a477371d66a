"""A PostgreSQL server for the tests: the embedded one, or (with --postgres) that of an installation."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import make_url

from app.core.database.migrations import migrate
from app.core.embedded import start

ENVIRONMENT = "TESSERA_TEST_POSTGRES"
TEMPLATE = "tessera"


@dataclass(frozen=True)
class TestServer:
    """The URLs of the server, shared by the process that started it and by the test processes."""

    __test__ = False

    superuser_url: str
    owner_url: str
    service_url: str

    @staticmethod
    def from_environment() -> TestServer:
        return TestServer(**json.loads(os.environ[ENVIRONMENT]))

    def export(self) -> None:
        os.environ[ENVIRONMENT] = json.dumps(asdict(self))

    def at(self, database: str) -> TestServer:
        """Return the URLs of the same roles in another database."""
        return TestServer(
            **{
                role: make_url(url).set(database=database).render_as_string(hide_password=False)
                for role, url in asdict(self).items()
            }
        )


@contextmanager
def running_postgres(programs: Path | None) -> Iterator[TestServer]:
    """Run a server with a migrated template database; delete it at the end."""
    folder = create_folder()
    try:
        with _embedded(folder) if programs is None else _installed(folder, programs) as server:
            migrate(server.owner_url, make_url(server.service_url).username)
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_folder() -> Path:
    """Create a folder that the server's system user may enter, in memory if there is enough space."""
    has_space = Path("/dev/shm").is_dir() and shutil.disk_usage("/dev/shm").free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="tessera-", dir="/dev/shm" if has_space else None))
    folder.chmod(0o711)
    return folder


@contextmanager
def _embedded(folder: Path) -> Iterator[TestServer]:
    with start(folder, durable=False) as server:
        password = json.loads((folder / "postgres.json").read_text())["postgres"]
        superuser = make_url(server.address.owner_url).set(username="postgres", password=password)
        yield TestServer(
            superuser_url=superuser.render_as_string(hide_password=False),
            owner_url=server.address.owner_url,
            service_url=server.address.service_url,
        )


@contextmanager
def _installed(folder: Path, programs: Path) -> Iterator[TestServer]:
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(folder, account.pw_uid, account.pw_gid)
    cluster = folder / "cluster"

    def run(program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [programs / program, *arguments], check=True, capture_output=True, cwd="/",
            user=account.pw_uid, group=account.pw_gid,
        )  # fmt: skip

    run("initdb", "-D", cluster, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
    run("pg_ctl", "-D", cluster, "-o", options, "-l", folder / "log", "-w", "start")
    try:
        for statement in (
            "CREATE ROLE tessera_owner LOGIN",
            "CREATE ROLE tessera_service LOGIN",
            f"CREATE DATABASE {TEMPLATE} OWNER tessera_owner",
        ):
            run("psql", "-h", folder, "-U", "postgres", "-c", statement)
        roles = {"superuser_url": "postgres", "owner_url": "tessera_owner", "service_url": "tessera_service"}
        urls = {name: f"postgresql+asyncpg://{role}@/{TEMPLATE}?host={folder}" for name, role in roles.items()}
        yield TestServer(**urls)
    finally:
        run("pg_ctl", "-D", cluster, "-m", "immediate", "stop")
