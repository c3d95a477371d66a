"""Embedded PostgreSQL servers for tests: folders, processes that start them, and queries."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from app.core.embedded import EmbeddedUnavailable, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
RAM_FOLDER = Path("/dev/shm")  # creating the 1,000 files of a cluster is fast here
TEMPORARY_FOLDERS = RAM_FOLDER if RAM_FOLDER.is_dir() and shutil.disk_usage(RAM_FOLDER).free > 2**30 else Path("/tmp")
IS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root has to switch to another user")

START = "import sys; from pathlib import Path; from app.core.embedded import *; folder = Path(sys.argv[1]); "
START_AND_WAIT = START + "server = start(folder, durable=False); print('up', flush=True); sys.stdin.read()"
START_IN_A_THREAD = (
    "import threading; "
    + START
    + "t = threading.Thread(target=start, args=[folder], kwargs={'durable': False}); t.start(); t.join(); "
    + "print('up', flush=True); sys.stdin.read()"
)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    outer = Path(tempfile.mkdtemp(prefix="tessera-test-", dir=TEMPORARY_FOLDERS))
    outer.chmod(0o711)
    yield outer / "data"
    outer.chmod(0o711)
    shutil.rmtree(outer)


def query(url: str, *statements: str) -> Any:
    """Run statements over a new connection and return the last one's first value."""

    async def run() -> Any:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return [await connection.fetchval(statement) for statement in statements][-1]
        finally:
            await connection.close()

    return asyncio.run(run())


def start_error(folder: Path) -> str:
    """Return the one-line message with which `start` fails."""
    with pytest.raises(EmbeddedUnavailable) as caught:
        start(folder, durable=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def start_python(code: str, folder: Path, **options: Any) -> subprocess.Popen[str]:
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
def starter_process(code: str, folder: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run another process that starts a server; yields once the server is up, and kills the process at the end."""
    with start_python(code, folder, **options) as starter:
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
