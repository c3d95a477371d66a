"""Start, await and stop the server's process, and clean up after a killed one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.embedded.site import (
    CHILD_ENVIRONMENT,
    POLL_INTERVAL,
    EmbeddedUnavailable,
    extract_error,
    wait_for,
)
from app.core.embedded.sockets import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.embedded.site import Site

PID_FILE_TIMEOUT = 30.0  # seconds for a new server to write its pid file
READY_TIMEOUT = 300.0  # seconds to accept connections; recovery after a crash takes long
FAST_SHUTDOWN_TIMEOUT = 8.0  # seconds to roll back clients and flush memory to disk
IMMEDIATE_SHUTDOWN_TIMEOUT = 10.0  # seconds
KILL_TIMEOUT = 5.0  # seconds
ORPHAN_TIMEOUT = 15.0  # seconds for children of a killed server to end; statements of requests time out after 10
MAX_LOG_BYTES = 10_000_000
UNUSED_PID = 2**31 - 1  # no system assigns it
PR_SET_PDEATHSIG = 1  # linux/prctl.h
# A program that becomes another one. A hook between fork and exec would do, but is not safe while other threads run. A
# change of the user clears the signal, so this program changes the user itself. Its first arguments are the parent's
# process id, in case the parent has ended before, and the user and group.
SET_DEATH_SIGNAL = f"""
import ctypes, os, sys
parent, uid, gid = map(int, sys.argv[1:4])
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {signal.SIGINT:d})
if os.getppid() == parent:
    os.execv(sys.argv[4], sys.argv[4:])
"""

# The last line keeps users' data out of the log, where it would survive an erasure.
SERVER_SETTINGS = f"""
    listen_addresses= port={PORT} max_connections=100 jit=off max_wal_size=2GB
    wal_level=minimal max_wal_senders=0 password_encryption=scram-sha-256
    timezone=UTC log_timezone=UTC log_checkpoints=off
    log_min_messages=warning log_error_verbosity=terse log_min_error_statement=panic
"""
NOT_DURABLE_SETTINGS = "fsync=off full_page_writes=off"


class _ClusterInUse(EmbeddedUnavailable):
    """Children of a killed server still use the cluster."""


def launch(site: Site, socket_folder: Path, is_stopping: Callable[[], bool] | None = None) -> subprocess.Popen[bytes]:
    """Start the server and wait until it accepts connections.

    PostgreSQL refuses to start while a child of a killed server still executes a statement, so that case is retried.

    Args:
        is_stopping: returns whether to give up. With it, the calling thread must live as long as the server: the kernel
            stops the server when the thread ends.

    Raises:
        EmbeddedUnavailable: The server does not start.
    """
    deadline = time.monotonic() + ORPHAN_TIMEOUT
    while True:
        try:
            return _launch(site, socket_folder, is_stopping)
        except _ClusterInUse:
            if time.monotonic() > deadline or (is_stopping and is_stopping()):
                raise
            time.sleep(0.5)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server with ever stronger signals. Committed transactions survive each of them."""
    for how, timeout in (
        (signal.SIGINT, FAST_SHUTDOWN_TIMEOUT),
        (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_TIMEOUT),
        (signal.SIGKILL, KILL_TIMEOUT),
    ):
        if process.poll() is None:
            process.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout)


def is_ready(cluster: Path) -> bool:
    """Return whether a server runs in this cluster and accepts connections."""
    pid, state = _read_pid_file(cluster)
    return state == "ready" and _is_server_process(pid, cluster)


def stop_orphan(cluster: Path) -> None:
    """Stop the server that a killed process left behind, and invalidate its pid file.

    Raises:
        EmbeddedUnavailable: The server does not stop.
    """
    pid, _ = _read_pid_file(cluster)
    for how in (signal.SIGINT, signal.SIGQUIT):
        if _is_server_process(pid, cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            wait_for(lambda: not _is_server_process(pid, cluster), 10)
    if _is_server_process(pid, cluster):
        raise EmbeddedUnavailable(f"a server that a killed Tessera left in {cluster} does not stop: end process {pid}")
    _invalidate_pid_file(cluster)


def _invalidate_pid_file(cluster: Path) -> None:
    """Replace the pid in a stale pid file, since the system may have given it to an unrelated process.

    The other lines stay: PostgreSQL reads there whether a child of the killed server still uses the cluster.
    """
    path = cluster / "postmaster.pid"
    with suppress(FileNotFoundError):
        pid, _, rest = path.read_text(errors="replace").partition("\n")
        if pid:
            path.write_text(f"{UNUSED_PID}\n{rest}")
        else:  # empty after a power failure; PostgreSQL refuses to start with it
            path.unlink()


def _read_pid_file(cluster: Path) -> tuple[int, str]:
    """Return the server's pid (0: none) and its state, `starting` or `ready`.

    The state is line 8, which `pg_ctl` reads too.
    """
    with suppress(FileNotFoundError, ValueError):
        lines = [*(cluster / "postmaster.pid").read_text(errors="replace").split("\n"), *[""] * 8]
        return abs(int(lines[0])), lines[7].strip()  # negative: single-user mode
    return 0, ""


def _is_server_process(pid: int, cluster: Path) -> bool:
    """Return whether the process is a PostgreSQL of this cluster, and not an unrelated one that reused the pid."""
    if pid == 0:
        return False
    if sys.platform == "linux":
        separator = "\0"
        try:
            command_line = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return False
    else:
        separator = " "
        ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        command_line = subprocess.run(ps, capture_output=True, text=True, check=False).stdout
    server = ("/postgres", "-D", str(cluster), "")
    single_user = ("/postgres", "--single", "-j", "-D", str(cluster), "")
    return any(separator.join(words) in command_line for words in (server, single_user))


def _launch(site: Site, socket_folder: Path, is_stopping: Callable[[], bool] | None) -> subprocess.Popen[bytes]:
    log_path = site.data_dir / "postgres.log"
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        log_path.rename(log_path.with_suffix(".log.1"))
    log_path.touch(mode=0o600)
    options = _make_server_options(site, socket_folder)
    with log_path.open("ab") as log:
        log_offset = log.tell()
        prefix = _make_death_signal_command(site, thread_stays=is_stopping is not None)
        process = subprocess.Popen(
            [*(prefix or ()), site.binaries / "postgres", "-D", site.cluster, *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=CHILD_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which stops the server last
            **({} if prefix else site.account.popen_arguments),
        )  # fmt: skip
    try:
        _wait_until_ready(process, site.cluster, log_path, log_offset, is_stopping)
    except BaseException:
        stop(process)
        raise
    return process


def _make_server_options(site: Site, socket_folder: Path) -> list[str]:
    settings = f"{SERVER_SETTINGS} {'' if site.durable else NOT_DURABLE_SETTINGS}".split()
    settings += [f"shared_buffers={_choose_shared_buffers_mb()}MB", f"unix_socket_directories={socket_folder}"]
    return [word for setting in settings for word in ("-c", setting)]


def _choose_shared_buffers_mb() -> int:
    """Return an eighth of the machine's memory, in MB, between 16 and 256: the system's page cache holds the rest."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return min(256, max(16, memory_mb // 8))


def _make_death_signal_command(site: Site, *, thread_stays: bool) -> list[str] | None:
    """Make the beginning of a command that makes the kernel stop the server when the calling thread ends.

    The kernel watches the thread that forks. `None` if this thread may end before the process does, or if the system
    knows no such signal. This is best effort: the next start stops an orphan anyway.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if sys.platform != "linux" or not sys.executable or not (is_main or thread_stays):
        return None
    ids = (os.getpid(), site.account.uid, site.account.gid)
    return [sys.executable, "-I", "-S", "-c", SET_DEATH_SIGNAL, *(str(number) for number in ids)]


def _wait_until_ready(
    process: subprocess.Popen[bytes],
    cluster: Path,
    log: Path,
    log_offset: int,
    is_stopping: Callable[[], bool] | None,
) -> None:
    started = time.monotonic()
    while True:
        if is_stopping and is_stopping():
            raise EmbeddedUnavailable("the service is stopping")
        pid, state = _read_pid_file(cluster)
        if pid == process.pid and state == "ready":
            return
        if process.poll() is not None:
            output = log.read_bytes()[log_offset:].decode(errors="replace")
            if re.search("shared memory block .* still in use", output):  # not always the last line
                raise _ClusterInUse(
                    f"processes of a killed server still work in {cluster}: wait until they end, or end them"
                )
            raise EmbeddedUnavailable(
                f"PostgreSQL did not start ({extract_error(output)}): see {log}, or set DATABASE_URL"
            )
        timeout = READY_TIMEOUT if pid == process.pid else PID_FILE_TIMEOUT
        if time.monotonic() - started > timeout:
            raise EmbeddedUnavailable(f"PostgreSQL is not ready after {timeout:.0f} s: see {log}, or set DATABASE_URL")
        time.sleep(POLL_INTERVAL)
