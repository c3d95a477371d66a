"""The cluster: its files, roles, database and passwords.

A new cluster is built in a temporary folder and renamed to `postgres/` once it has its roles and database. A first
start that is killed half-way therefore leaves no incomplete cluster behind.
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

SUPERUSER = "postgres"  # for administrators, such as for `pg_dump`; Tessera never connects as it
MIN_VERSION_WITH_BUILTIN_LOCALES = 17

ROLE_ATTRIBUTES = "LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION"
ROLES_AND_DATABASE = (
    f"CREATE ROLE {OWNER} {ROLE_ATTRIBUTES}",
    f"CREATE ROLE {SERVICE} {ROLE_ATTRIBUTES}",
    f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
)
PRIVILEGES = (
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {SERVICE}",
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT USAGE ON SEQUENCES TO {SERVICE}",
)


def exists(site: Site) -> bool:
    """Return whether the site has a cluster.

    Raises:
        EmbeddedUnavailable: The cluster belongs to another major version of PostgreSQL.
    """
    version_file = site.cluster / "PG_VERSION"
    if not version_file.exists():
        return False
    if (found := version_file.read_text().strip()) != (major := str(_read_major_version(site))):
        raise EmbeddedUnavailable(
            f"{site.cluster} was created by PostgreSQL {found}, but the installed version is {major}: "
            "restore a dump of it in another DATA_DIR, or set DATABASE_URL"
        )
    return True


def create(site: Site) -> None:
    """Create the cluster with its roles and the empty database."""
    build_folder = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=site.data_dir))
    password_file = build_folder / "password"  # deleted with the folder; replaced before the first connection
    password_file.write_text(secrets.token_urlsafe(32))
    for path in (password_file, build_folder):  # in this order, so that nothing can replace the file with a link
        os.chown(path, site.account.uid, site.account.gid)
    # The C locale only knows ASCII letters: neither lower() nor full-text search would find "Ärger" by "ärger".
    has_builtin_locales = _read_major_version(site) >= MIN_VERSION_WITH_BUILTIN_LOCALES
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if has_builtin_locales else []
    authentication = ["-A", "scram-sha-256", "-U", SUPERUSER, f"--pwfile={password_file}"]
    options = ["--no-locale", *locale, "-E", "UTF8", *authentication]
    cluster = build_folder / "cluster"
    site.run("initdb", "-D", cluster, *options, *([] if site.durable else ["--no-sync"]))
    _run_single_user(site, cluster, SUPERUSER, ROLES_AND_DATABASE)
    _run_single_user(site, cluster, DATABASE, PRIVILEGES)
    cluster.rename(site.cluster)
    if site.durable:
        _sync_folder(site.data_dir)


def remove_build_folders(data_dir: Path) -> None:
    """Remove what first starts left behind. A killed one may still be writing; the next start removes its folder."""
    for build_folder in data_dir.glob("postgres.new-*"):
        shutil.rmtree(build_folder, ignore_errors=True)


def read_passwords(data_dir: Path) -> dict[str, str] | None:
    """Read the stored passwords by role; `None` if the file is missing or broken."""
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
        stored = json.loads((data_dir / "postgres.json").read_text())
        return {role: str(stored[role]) for role in (SUPERUSER, OWNER, SERVICE)}
    return None


def set_passwords(site: Site) -> dict[str, str]:
    """Give every role a new password and store them in `postgres.json`."""
    passwords = {role: secrets.token_urlsafe(32) for role in (SUPERUSER, OWNER, SERVICE)}
    statements = [f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in passwords.items()]
    _run_single_user(site, site.cluster, SUPERUSER, statements)
    draft = site.data_dir / "postgres.json.new"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    with draft.open("w") as file:
        json.dump(passwords, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(site.data_dir / "postgres.json")
    return passwords


def _run_single_user(site: Site, cluster: Path, database: str, statements: Iterable[str]) -> None:
    """Run statements as superuser in single-user mode: no server, no password, durable on return."""
    options = ["-c", "exit_on_error=on", *([] if site.durable else ["-F"])]
    script = "".join(f"{statement};\n\n" for statement in statements)
    site.run("postgres", "--single", "-j", "-D", cluster, *options, database, stdin=script)


def _sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk, so that they survive a power failure."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_major_version(site: Site) -> int:
    version = re.search(r"\d+", site.run("postgres", "--version"))
    return int(version.group()) if version else 0
