"""The cluster: its files, roles, database and passwords.

`postgres/` comes into being by a rename, when roles and database are in it: a first start that is killed half-way
leaves nothing to trip over.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.embedded.site import EmbeddedUnavailable
from app.core.embedded.sockets import DATABASE, OWNER, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.core.embedded.site import Site

SUPERUSER = "postgres"  # for an administrator's hands, such as `pg_dump`; nothing of ours signs in as it
BUILTIN_LOCALES = 17  # the major version that brought them

PLAIN = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
ROLES_AND_DATABASE = (
    f"CREATE ROLE {OWNER} {PLAIN}",
    f"CREATE ROLE {SERVICE} {PLAIN}",
    f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
)
PRIVILEGES = (
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {SERVICE}",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SEQUENCES TO {SERVICE}",
)


def exists(site: Site) -> bool:
    """Whether there is a cluster; refuses one that these binaries cannot read."""
    version = site.cluster / "PG_VERSION"
    if not version.exists():
        return False
    if (found := version.read_text().strip()) != (major := str(_major(site))):
        raise EmbeddedUnavailable(
            f"{site.cluster} is of PostgreSQL {found}, and this is PostgreSQL {major}: "
            "restore a dump of it in another DATA_DIR, or set DATABASE_URL"
        )
    return True


def make(site: Site) -> None:
    """Make the cluster, with its roles and the empty database."""
    workshop = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=site.data_dir))
    password = workshop / "password"  # gone with the folder, and replaced before the first connection
    password.write_text(secrets.token_urlsafe(32))
    for path in (password, workshop):  # in this order: then nobody can put a link in the file's place
        os.chown(path, site.account.uid, site.account.gid)
    # C alone knows no letters but ASCII's: neither lower() nor full-text search would find "Ärger" by "ärger".
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if _major(site) >= BUILTIN_LOCALES else []
    options = ["--no-locale", *locale, "-E", "UTF8", "-A", "scram-sha-256", "-U", SUPERUSER, f"--pwfile={password}"]
    new = workshop / "cluster"
    site.run("initdb", "-D", new, *options, *([] if site.durable else ["--no-sync"]))
    _run_single(site, new, SUPERUSER, ROLES_AND_DATABASE)
    _run_single(site, new, DATABASE, PRIVILEGES)
    new.rename(site.cluster)
    if site.durable:
        _sync_folder(site.data_dir)


def remove_half_made(data_dir: Path) -> None:
    """Clear up after first starts; one that was killed may still be writing, and is cleared up the next time."""
    for workshop in data_dir.glob("postgres.new-*"):
        shutil.rmtree(workshop, ignore_errors=True)


def kept_passwords(data_dir: Path) -> dict[str, str] | None:
    """Read the passwords by role; `None` where the file is missing or broken."""
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        kept = json.loads((data_dir / "postgres.json").read_text())
        return {role: str(kept[role]) for role in (SUPERUSER, OWNER, SERVICE)}
    return None


def set_passwords(site: Site) -> dict[str, str]:
    """Give every role a new password, and keep them."""
    passwords = {role: secrets.token_urlsafe(32) for role in (SUPERUSER, OWNER, SERVICE)}
    changes = [f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in passwords.items()]
    _run_single(site, site.cluster, SUPERUSER, changes)
    draft = site.data_dir / "postgres.json.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("w") as file:
        json.dump(passwords, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(site.data_dir / "postgres.json")
    return passwords


def _run_single(site: Site, cluster: Path, database: str, statements: Iterable[str]) -> None:
    """Run statements in single-user mode, as superuser: no server, no password, and durable when it returns."""
    options = ["-c", "exit_on_error=on", *([] if site.durable else ["-F"])]
    typed = "".join(f"{statement};\n\n" for statement in statements)
    site.run("postgres", "--single", "-j", "-D", cluster, *options, database, typed=typed)


def _sync_folder(path: Path) -> None:
    """Let the names in a folder survive a power failure."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _major(site: Site) -> int:
    version = re.search(r"\d+", site.run("postgres", "--version"))
    return int(version.group()) if version else 0
