"""The embedded PostgreSQL while it runs: roles, permissions, secrets and locks of real servers."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.embedded import Server, attach, start
from tests.core.embedded.embedded_server import START, only_root, query, server_pid, start_error, start_python

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(used_folder: Path) -> Iterator[Server]:
    with start(used_folder, durable=False) as running:
        yield running


def test_data_survives_a_restart(folder: Path) -> None:
    with start(folder) as first:
        query(first.address.owner_url, "CREATE TABLE notes (body text)", "INSERT INTO notes VALUES ('kept')")
    with start(folder) as second:
        assert query(second.address.service_url, "SELECT body FROM notes") == "kept"
        assert second.address == first.address
        assert query(second.address.owner_url, "SELECT current_setting('fsync')") == "on"


def test_both_roles_are_subject_to_row_level_security(server: Server) -> None:
    privileges = (
        "SELECT rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    for url, role in (
        (server.address.service_url, "tessera_service"),
        (server.address.owner_url, "tessera_owner"),
    ):
        assert query(url, "SELECT current_user") == role
        assert query(url, privileges) is False


def test_the_service_role_uses_tables_but_cannot_create_or_drop_them(server: Server) -> None:
    service, owner = server.address.service_url, server.address.owner_url
    query(owner, "CREATE TABLE notes (id serial PRIMARY KEY, body text)")
    query(service, "INSERT INTO notes (body) VALUES ('a'), ('b')", "UPDATE notes SET body = 'c'")
    assert query(service, "DELETE FROM notes WHERE id = 1", "SELECT string_agg(body, ',') FROM notes") == "c"
    for forbidden in ("CREATE TABLE mine ()", "DROP TABLE notes", "TRUNCATE notes", "CREATE SCHEMA mine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            query(service, forbidden)


def test_sqlalchemy_accepts_the_address_and_a_wrong_password_is_refused(server: Server) -> None:
    async def index_text() -> Any:
        engine = create_async_engine(server.address.service_url)
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT to_tsvector('simple', 'ÄRGER')::text"))
        await engine.dispose()
        return found

    assert asyncio.run(index_text()) == "'ärger':1"  # non-ASCII letters are folded
    name, _, rest = server.address.service_url.partition("tessera_service:")
    with pytest.raises(asyncpg.InvalidPasswordError):
        query(f"{name}tessera_service:wrong@{rest.partition('@')[2]}", "SELECT 1")


def test_passwords_and_log_are_readable_by_their_owner_only(folder: Path, server: Server) -> None:
    for name in ("postgres.json", "postgres.log", "postgres.lock"):
        found = (folder / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, os.geteuid())
    for inside in ("postgres", "socket"):
        assert stat.S_IMODE((folder / inside).stat().st_mode) == 0o700
    assert "tessera_service" not in repr(server.address)
    environment = Path(f"/proc/{server_pid(folder)}/environ").read_text()
    assert "HOME=" not in environment


def test_user_data_does_not_reach_the_log(folder: Path, server: Server) -> None:
    query(server.address.owner_url, "CREATE TABLE users (email text PRIMARY KEY)")
    with pytest.raises(asyncpg.UniqueViolationError):
        query(server.address.owner_url, *["INSERT INTO users VALUES ('ada@example.com')"] * 2)
    log = (folder / "postgres.log").read_text()
    assert "duplicate key" in log
    assert "ada@example.com" not in log


def test_a_second_start_in_the_same_folder_is_refused_in_one_line(folder: Path, server: Server) -> None:
    assert start_error(folder) == (
        f"another Tessera already runs in {folder}: stop it, or set DATA_DIR to another folder"
    )
    assert query(server.address.service_url, "SELECT 1") == 1


def test_attach_finds_a_server_only_while_it_runs(used_folder: Path) -> None:
    assert attach(used_folder) is None
    with start(used_folder, durable=False) as server:
        assert attach(used_folder) == server.address
        other = start_python(START + "print(attach(folder).service_url, end='')", used_folder)
        assert other.communicate()[0] == server.address.service_url
    assert attach(used_folder) is None


@only_root
def test_under_root_the_server_runs_as_an_unprivileged_user(folder: Path, server: Server) -> None:
    status = Path(f"/proc/{server_pid(folder)}/status").read_text().split("\n")
    ids = {line.split(":")[0]: set(line.split()[1:]) for line in status if line.startswith(("Uid", "Gid", "Groups"))}
    assert "0" not in ids["Uid"] | ids["Gid"] | ids["Groups"]
    assert query(server.address.service_url, "SELECT 1") == 1


@only_root
def test_attach_as_another_user_fails_with_one_line(folder: Path, server: Server) -> None:
    assert attach(folder) == server.address
    other_user = pwd.getpwnam("nobody")
    become = f"import os; os.setgroups([]); os.setgid({other_user.pw_gid}); os.setuid({other_user.pw_uid})"
    code = f"{START}\n{become}\ntry: attach(folder)\nexcept EmbeddedUnavailable as error: print(error)"
    output = start_python(code, folder).communicate()[0]
    assert output.count("\n") == 1
    assert f"Permission denied: {folder}/postgres.lock" in output
