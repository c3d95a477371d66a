"""Start and stop the server of a data folder, or find the one that another process runs there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from app.core.embedded import cluster, process, sockets
from app.core.embedded.site import Site, is_locked, one_line_errors, prepare_site, take_lock, wait_for
from app.core.embedded.supervision import Supervisor

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from app.core.embedded.sockets import Address


class Server:
    """A running server, stopped by `stop()` or by leaving the `with` block."""

    def __init__(
        self, site: Site, address: Address, server: subprocess.Popen[bytes], lock: int, socket_folder: Path
    ) -> None:
        self.address = address
        self._site = site
        self._process = server
        self._lock: int | None = lock
        self._socket_folder = socket_folder
        self._supervisor: Supervisor | None = None

    def keep_running(self) -> None:
        """Start the server again whenever it ends by itself, until `stop()`."""
        self._supervisor = self._supervisor or Supervisor(self._process, self._launch_again)

    def _launch_again(self, is_stopping: Callable[[], bool]) -> subprocess.Popen[bytes]:
        process.stop_orphan(self._site.cluster)
        sockets.create_folder(self._site)
        return process.launch(self._site, self._socket_folder, is_stopping)

    def stop(self) -> None:
        """Stop the server, usually within 8 seconds, and release the folder. A second call does nothing."""
        if self._supervisor is not None:
            self._process = self._supervisor.stop()
        process.stop(self._process)
        if self._lock is not None:
            with suppress(OSError):
                self._socket_folder.rmdir()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(data_dir: Path, *, durable: bool = True) -> Server:
    """Start the server of this folder and wait until it accepts connections. The first start creates the cluster.

    Args:
        durable: `False` is for tests and benchmarks: a killed process loses nothing, but a power failure may destroy
            the whole cluster.

    Raises:
        EmbeddedUnavailable: The server cannot run on this system, or another process already runs it.
    """
    with one_line_errors(data_dir):
        site = prepare_site(data_dir.resolve(), durable=durable)
        lock = take_lock(site.data_dir)
        try:
            return _start(site, lock)
        except BaseException:
            os.close(lock)
            raise


def attach(data_dir: Path, *, timeout: float = 0.0) -> Address | None:
    """Return the address of the server that another process runs in this folder; `None` if none accepts connections.

    Args:
        timeout: seconds to wait for a server that another process is starting, possibly again.

    Raises:
        EmbeddedUnavailable: The folder belongs to another user, or the server cannot run on this system.
    """
    with one_line_errors(data_dir):
        data_dir = data_dir.resolve()
        wait_for(lambda: not is_locked(data_dir) or process.is_ready(data_dir / "postgres"), timeout)
        if not is_locked(data_dir) or not process.is_ready(data_dir / "postgres"):
            return None
        passwords = cluster.read_passwords(data_dir)
        return sockets.build_address(data_dir, passwords) if passwords else None


def _start(site: Site, lock: int) -> Server:
    if cluster.exists(site):
        process.stop_orphan(site.cluster)
    else:
        cluster.create(site)
    cluster.remove_build_folders(site.data_dir)
    passwords = cluster.read_passwords(site.data_dir) or cluster.set_passwords(site)
    socket_folder = sockets.create_folder(site)
    server = process.launch(site, socket_folder)
    return Server(site, sockets.build_address(site.data_dir, passwords), server, lock, socket_folder)
