"""The server's unix socket, in a folder that only its system user may enter, and the URLs that lead to it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.embedded.site import EmbeddedUnavailable

if TYPE_CHECKING:
    from app.core.embedded.site import Site

DATABASE, OWNER, SERVICE = "tessera", "tessera_owner", "tessera_service"
PORT = 5432  # part of the socket's file name; no TCP port is opened
MAX_SOCKET_PATH_BYTES = 103  # macOS, the shortest limit of the supported systems; Linux allows 107


@dataclass(frozen=True)
class Address:
    """SQLAlchemy URLs of the server for asyncpg, over the unix socket, password included."""

    service_url: str = field(repr=False)
    """For requests and workers: neither superuser nor owner, and subject to row level security."""
    owner_url: str = field(repr=False)
    """For migrations: owner of the database, not a superuser."""


def build_address(data_dir: Path, passwords: dict[str, str]) -> Address:
    """Return the URLs of the server whose data is in `data_dir`."""
    location = f"host={_choose_socket_folder(data_dir)}&port={PORT}"

    def url(role: str) -> str:
        return f"postgresql+asyncpg://{role}:{passwords[role]}@/{DATABASE}?{location}"

    return Address(service_url=url(SERVICE), owner_url=url(OWNER))


def create_folder(site: Site) -> Path:
    """Create the socket's folder, and remove the files that a killed server left in it.

    Raises:
        EmbeddedUnavailable: The folder belongs to another user.
    """
    path = _choose_socket_folder(site.data_dir)
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(folder).st_uid not in {os.geteuid(), site.account.uid}:
            raise EmbeddedUnavailable(
                f"{path} belongs to another user: shorten DATA_DIR, so that the socket can be inside it"
            )
        os.fchmod(folder, 0o700)
        os.fchown(folder, site.account.uid, site.account.gid)
    finally:
        os.close(folder)
    for stale_file in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (path / stale_file).unlink(missing_ok=True)
    return path


def _choose_socket_folder(data_dir: Path) -> Path:
    inside = data_dir / "socket"
    is_short_enough = len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH_BYTES
    # Commas, colons and the like have a meaning in lists of hosts.
    if is_short_enough and re.fullmatch(r"[\w./-]+", str(inside), re.ASCII):
        return inside
    return Path("/tmp", f"tessera-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}")  # noqa: S108 - checked
