"""Start the server of a folder, stop it, or find the one that another process runs there."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from app.core.embedded import cluster, process, sockets
from app.core.embedded.site import Site, is_locked, one_line_errors, prepare_site, take_lock

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from app.core.embedded.sockets import Address


class Server:
    """A running server, stopped by `stop()` or by leaving the `with` block."""

    def __init__(self, address: Address, server: subprocess.Popen[bytes], lock: int, socket_folder: Path) -> None:
        self.address = address
        self._process = server
        self._lock: int | None = lock
        self._socket_folder = socket_folder

    def stop(self) -> None:
        """Stop the server, as a rule within 8 seconds, and free the folder; a second call does nothing."""
        process.end(self._process)
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
    """Start the server of this folder, which is made on first use, and wait until it accepts connections.

    `durable=False` is for tests and benchmarks: nothing is lost when a process is killed, but a power failure may cost
    the whole cluster.

    Raises:
        EmbeddedUnavailable: it cannot run here, or another process runs it already.
    """
    with one_line_errors(data_dir):
        site = prepare_site(data_dir.resolve(), durable=durable)
        lock = take_lock(site.data_dir)
        try:
            return _start(site, lock)
        except BaseException:
            os.close(lock)
            raise


def attach(data_dir: Path) -> Address | None:
    """Find the server that another process runs in this folder; `None` where none accepts connections.

    Raises:
        EmbeddedUnavailable: the folder belongs to another user, or this system cannot run the server at all.
    """
    with one_line_errors(data_dir):
        data_dir = data_dir.resolve()
        if not is_locked(data_dir) or not process.is_ready(data_dir / "postgres"):
            return None
        passwords = cluster.kept_passwords(data_dir)
        return sockets.address(data_dir, passwords) if passwords else None


def _start(site: Site, lock: int) -> Server:
    if cluster.exists(site):
        process.stop_orphan(site.cluster)
    else:
        cluster.make(site)
    cluster.remove_half_made(site.data_dir)
    passwords = cluster.kept_passwords(site.data_dir) or cluster.set_passwords(site)
    socket_folder = sockets.make_folder(site)
    server = process.launch(site, socket_folder)
    return Server(sockets.address(site.data_dir, passwords), server, lock, socket_folder)
