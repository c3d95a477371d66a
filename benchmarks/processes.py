"""The measured processes, run as in production, without the environment of this process."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
POOL_SIZE = 10  # connections to the database: of the service, of the reference, and of pgbench
START_TIMEOUT = 120.0  # seconds
_TESSERA = str(Path(sys.executable).with_name("tessera"))


@dataclass(frozen=True)
class Place:
    """The database, secret key and data folder of a process."""

    database_url: str
    folder: Path
    secret_key: str = field(repr=False)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the complete environment of a process."""
        return {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": self.database_url,
            "DATABASE_POOL_SIZE": str(POOL_SIZE),
            "DATA_DIR": str(self.folder),
            "SECRET_KEY": self.secret_key,
            "LOG_FORMAT": "json",
            **more,
        }

    @property
    def mails(self) -> int:
        """The number of mails that the worker has written."""
        return sum(1 for _ in (self.folder / "mail").glob("*.eml"))


@dataclass(frozen=True)
class Web:
    """A web process that accepts connections."""

    pid: int
    port: int


def new_key() -> str:
    """Return a new secret key."""
    return base64.b64encode(secrets.token_bytes(48)).decode()


@contextmanager
def place(database_url: str, secret_key: str) -> Iterator[Place]:
    """Yield a place with an empty folder, which is deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="tessera-benchmark-") as folder:
        yield Place(database_url, Path(folder), secret_key)


@contextmanager
def service(where: Place, **settings: str) -> Iterator[Web]:
    """Run the service's web process without a worker, with further settings."""
    port = _free_port()
    environment = where.environment(PORT=str(port), WORKER="off", **settings)
    with _process([_TESSERA, "serve"], environment, where.folder) as started:
        _wait_for_port(started, port)
        yield Web(started.pid, port)


@contextmanager
def reference(where: Place) -> Iterator[Web]:
    """Run the hand-written reference."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.reference"]
    with _process(command, where.environment(PORT=str(port)), where.folder) as started:
        _wait_for_port(started, port)
        yield Web(started.pid, port)


@contextmanager
def worker(where: Place, **settings: str) -> Iterator[int]:
    """Run the service's worker, with further settings; yields its process id."""
    with _process([_TESSERA, "worker"], where.environment(**settings), where.folder) as started:
        assert started.stdout
        if not started.stdout.readline():
            raise RuntimeError("the worker did not start")
        yield started.pid


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a folder without `.env`, and end it afterwards. Its log is formatted and discarded."""
    started = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(15)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        if started.stdout:
            started.stdout.close()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} does not accept connections: run it by hand to see its log")
