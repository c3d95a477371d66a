"""A separate PostgreSQL for these tests, which damage it and read all organisations."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from app.core.config import Settings
from app.core.database.migrations import migrate
from app.core.embedded import start

if TYPE_CHECKING:
    from collections.abc import Iterator

RAM_FOLDER = Path("/dev/shm")  # creating the 1,000 files of a cluster is fast here
TEMPORARY_FOLDERS = RAM_FOLDER if RAM_FOLDER.is_dir() and shutil.disk_usage(RAM_FOLDER).free > 2**30 else Path("/tmp")
SECRET_KEY = "Zq4-only-for-these-tests-8Wm2xVtB7nLcKd"


@dataclass(frozen=True)
class Deployment:
    """A migrated database and the service's settings for it."""

    settings: Settings
    owner_url: str
    superuser_url: str
    passwords: list[str]

    async def execute_as_owner(self, statement: str) -> None:
        await _execute(self.owner_url, statement)

    async def execute_as_superuser(self, statement: str) -> None:
        await _execute(self.superuser_url, statement)


@contextmanager
def running_deployment() -> Iterator[Deployment]:
    outer = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=TEMPORARY_FOLDERS))
    outer.chmod(0o711)  # under root the server runs as another user, who must be able to enter
    try:
        with start(outer / "data", durable=False) as server:
            migrate(server.address.owner_url, "tessera_service")
            passwords = json.loads((outer / "data/postgres.json").read_text())
            service = f"tessera_service:{passwords['tessera_service']}@"
            superuser = f"postgres:{passwords['postgres']}@"
            yield Deployment(
                settings=Settings.model_validate(
                    {"database_url": server.address.service_url, "secret_key": SECRET_KEY, "data_dir": outer / "data"}
                ),
                owner_url=server.address.owner_url,
                superuser_url=server.address.service_url.replace(service, superuser),
                passwords=list(passwords.values()),
            )
    finally:
        shutil.rmtree(outer)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
