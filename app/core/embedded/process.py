"""The server's process: started, waited for, ended; and what is left of one whose starter was killed."""

from __future__ import annotations

import ctypes
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

from app.core.embedded.site import ENVIRONMENT, POLL, EmbeddedUnavailable, essence, wait_for
from app.core.embedded.sockets import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.core.embedded.site import Site

APPEARS_WITHIN = 30.0  # seconds until a new server has written its pid file
READY_WITHIN = 300.0  # seconds until it accepts connections: recovery after a crash takes its time
STOP_WITHIN = 8.0  # seconds for clients to be rolled back and all of memory to be written to disk
STRAGGLERS_END_WITHIN = 15.0  # seconds; a request's statement is given up after 10
KEEP_LOG_BYTES = 10_000_000
NO_PID = 2**31 - 1  # which no system gives to a process
PR_SET_PDEATHSIG = 1  # linux/prctl.h

# The last line keeps what users wrote out of the log: someone erased would live on in it.
SETTINGS = f"""
    listen_addresses= port={PORT} max_connections=100 jit=off max_wal_size=2GB
    wal_level=minimal max_wal_senders=0 password_encryption=scram-sha-256
    timezone=UTC log_timezone=UTC log_checkpoints=off
    log_min_messages=warning log_error_verbosity=terse log_min_error_statement=panic
"""
NOT_DURABLE = "fsync=off full_page_writes=off"


class _StillInUse(EmbeddedUnavailable):
    pass


def launch(site: Site, socket_folder: Path) -> subprocess.Popen[bytes]:
    """Start the server and wait until it accepts connections.

    After a server was killed, one of its children may go on until its statement ends; PostgreSQL starts no second one
    beside it.
    """
    deadline = time.monotonic() + STRAGGLERS_END_WITHIN
    while True:
        try:
            return _launch(site, socket_folder)
        except _StillInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the server: politely, then firmly, then by force. What was committed is kept in any case."""
    for how, patience in ((signal.SIGINT, STOP_WITHIN), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
        if process.poll() is None:
            process.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def is_ready(cluster: Path) -> bool:
    """Whether a server runs in this cluster and accepts connections."""
    pid, state = _read_pid_file(cluster)
    return state == "ready" and _is_server_of(pid, cluster)


def stop_orphan(cluster: Path) -> None:
    """Stop the server that a killed process left behind, and make its pid file harmless."""
    pid, _ = _read_pid_file(cluster)
    for how in (signal.SIGINT, signal.SIGQUIT):
        if _is_server_of(pid, cluster):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            wait_for(lambda: not _is_server_of(pid, cluster), 10)
    if _is_server_of(pid, cluster):
        raise EmbeddedUnavailable(f"a server that a killed Tessera left in {cluster} does not stop: end process {pid}")
    _forget_pid(cluster)


def _forget_pid(cluster: Path) -> None:
    """Take the pid, which a stranger may have by now, out of a pid file that was left behind.

    The rest stays: by it PostgreSQL finds out whether a child of the killed server still uses the cluster.
    """
    path = cluster / "postmaster.pid"
    with suppress(FileNotFoundError):
        pid, _, rest = path.read_text(errors="replace").partition("\n")
        if pid:
            path.write_text(f"{NO_PID}\n{rest}")
        else:  # a power failure left it empty, and PostgreSQL refuses to go on
            path.unlink()


def _read_pid_file(cluster: Path) -> tuple[int, str]:
    """Return the server's pid (0: none) and its state, `starting` or `ready`: line 8, which `pg_ctl` goes by too."""
    with suppress(FileNotFoundError, ValueError):
        lines = [*(cluster / "postmaster.pid").read_text(errors="replace").split("\n"), *[""] * 8]
        return abs(int(lines[0])), lines[7].strip()  # negative: single-user mode
    return 0, ""


def _is_server_of(pid: int, cluster: Path) -> bool:
    """Whether this process is a PostgreSQL that we started in this cluster, and not a stranger who got its number."""
    if pid == 0:
        return False
    if sys.platform == "linux":
        between = "\0"
        try:
            line = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return False
    else:
        between = " "
        command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        line = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    server = ("/postgres", "-D", str(cluster), "")
    single = ("/postgres", "--single", "-j", "-D", str(cluster), "")
    return any(between.join(words) in line for words in (server, single))


def _launch(site: Site, socket_folder: Path) -> subprocess.Popen[bytes]:
    log_path = site.data_dir / "postgres.log"
    if log_path.exists() and log_path.stat().st_size > KEEP_LOG_BYTES:
        log_path.rename(log_path.with_suffix(".log.1"))
    log_path.touch(mode=0o600)
    with log_path.open("ab") as log:
        said_before = log.tell()
        process = subprocess.Popen(
            [site.binaries / "postgres", "-D", site.cluster, *_options(site, socket_folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=ENVIRONMENT,
            start_new_session=True,  # the terminal's Ctrl-C is for us, who stop the server last
            preexec_fn=_follow_parent(),  # noqa: PLW1509 - it is None outside the main thread
            **site.account.popen,
        )  # fmt: skip
    try:
        _wait_until_ready(process, site.cluster, log_path, said_before)
    except BaseException:
        end(process)
        raise
    return process


def _options(site: Site, socket_folder: Path) -> list[str]:
    settings = f"{SETTINGS} {'' if site.durable else NOT_DURABLE} shared_buffers={_shared_buffers()}MB".split()
    return [word for setting in (*settings, f"unix_socket_directories={socket_folder}") for word in ("-c", setting)]


def _shared_buffers() -> int:
    """Take an eighth of the machine's memory, in MB, within reason; the system's own cache holds more of the data."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return min(256, max(16, memory // 8))


def _follow_parent() -> Callable[[], None] | None:
    """Have the kernel stop the server when this process is killed; best effort, as the next start clears up anyhow."""
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return None  # "parent" is the thread that forks, and any other thread may end before the process does
    parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

    def follow() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return follow


def _wait_until_ready(process: subprocess.Popen[bytes], cluster: Path, log: Path, said_before: int) -> None:
    begun = time.monotonic()
    while True:
        pid, state = _read_pid_file(cluster)
        if pid == process.pid and state == "ready":
            return
        if process.poll() is not None:
            said = log.read_bytes()[said_before:].decode(errors="replace")
            if re.search("shared memory block .* still in use", said):  # others may have said something since
                raise _StillInUse(f"a killed server's processes still work in {cluster}: wait for them, or end them")
            raise EmbeddedUnavailable(f"PostgreSQL did not start ({essence(said)}): see {log}, or set DATABASE_URL")
        patience = READY_WITHIN if pid == process.pid else APPEARS_WITHIN
        if time.monotonic() - begun > patience:
            raise EmbeddedUnavailable(f"PostgreSQL is not ready after {patience:.0f} s: see {log}, or set DATABASE_URL")
        time.sleep(POLL)
