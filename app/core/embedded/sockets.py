"""How the server is reached: over a unix socket, in a folder that only its user may enter."""

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
PORT = 5432  # of the socket's name only
SOCKET_PATH_BYTES = 103  # the shortest limit of the systems we run on (macOS); Linux has 107


@dataclass(frozen=True)
class Address:
    """How to reach the server: SQLAlchemy URLs for asyncpg, over the unix socket, password included."""

    service_url: str = field(repr=False)
    """For requests and workers: neither superuser nor owner, and bound by row level security."""
    owner_url: str = field(repr=False)
    """For migrations: owns the database; not a superuser either."""


def address(data_dir: Path, passwords: dict[str, str]) -> Address:
    """Put together the address of this folder's server."""
    place = f"host={_folder(data_dir)}&port={PORT}"

    def url(role: str) -> str:
        return f"postgresql+asyncpg://{role}:{passwords[role]}@/{DATABASE}?{place}"

    return Address(service_url=url(SERVICE), owner_url=url(OWNER))


def make_folder(site: Site) -> Path:
    """Make the socket's folder, with nothing in it that a killed server left."""
    path = _folder(site.data_dir)
    path.mkdir(mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(folder).st_uid not in {os.geteuid(), site.account.uid}:
            raise EmbeddedUnavailable(f"{path} belongs to somebody else: set DATA_DIR to a folder with a shorter path")
        os.fchmod(folder, 0o700)
        os.fchown(folder, site.account.uid, site.account.gid)
    finally:
        os.close(folder)
    for left_over in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (path / left_over).unlink(missing_ok=True)
    return path


def _folder(data_dir: Path) -> Path:
    inside = data_dir / "socket"
    short = len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES
    # Commas, colons and the like mean something in lists of hosts.
    if short and re.fullmatch(r"[\w./-]+", str(inside), re.ASCII):
        return inside
    return Path("/tmp", f"tessera-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}")  # noqa: S108 - checked
