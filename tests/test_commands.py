"""The commands other than `serve` and `worker`, and failures at the start, each reported in one line."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from tests.conftest import SECRET_KEY
from tests.databases import superuser_connection
from tests.tessera_process import Program, free_port, run_tessera, working_folder

if TYPE_CHECKING:
    from tests.postgres import TestServer

NOWHERE = "postgresql://tessera:s3cret@127.0.0.1:1/tessera"


@asynccontextmanager
async def completed(command: str, *arguments: str, **settings: object) -> AsyncIterator[tuple[int, Program]]:
    """Run a command to its end; yield the exit code and the program."""
    with working_folder() as folder:
        async with run_tessera(command, folder, *arguments, **settings) as program:
            yield await program.wait_for_exit(), program


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("port", "eight", "PORT"),
        ("database_url", "mysql://root@localhost/tessera", "DATABASE_URL"),
        ("data_dir", "/proc/nowhere", "DATA_DIR"),
        ("host", "no.such.host.invalid", "HOST"),
    ],
)
async def test_an_invalid_setting_is_reported_in_one_line(setting: str, value: str, name: str) -> None:
    async with completed("serve", **{setting: value}) as (code, program):
        assert code == 2
        (line,) = program.errors
        assert line.startswith("tessera: ")
        assert name in line
        assert program.out == []


@pytest.mark.parametrize(
    ("command", "key"), [("serve", None), ("worker", "short"), ("serve", "change-me-change-me-change-me-change-me")]
)
async def test_an_external_database_requires_a_strong_secret_key(command: str, key: str | None) -> None:
    async with completed(command, database_url=NOWHERE, **({} if key is None else {"secret_key": key})) as (
        code,
        program,
    ):
        assert code == 2
        (line,) = program.errors
        assert line.startswith("tessera: SECRET_KEY: ")
        assert "s3cret" not in line


async def test_the_openapi_document_is_printed_without_a_database() -> None:
    async with completed("openapi") as (code, program):
        assert (code, program.errors) == (0, [])
        document = json.loads("\n".join(program.out))
    assert document["openapi"].startswith("3.1")
    assert {"/tickets", "/auth/org/signup", "/health/ready"} <= set(document["paths"])
    operations = [
        operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) >= 20
    for reference in references(document):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def references(node: object) -> list[str]:
    """Return all `$ref`s below this node."""
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


async def test_migrate_updates_an_empty_database_and_is_idempotent(
    server: TestServer,
) -> None:
    async with superuser_connection(server.at("postgres")) as superuser:
        name = f"{await superuser.fetchval('SELECT current_database()')}_empty_{free_port()}"
        await superuser.execute(f"CREATE DATABASE {name} OWNER tessera_owner")
    own_database = server.at(name)
    settings = {
        "database_url": own_database.service_url,
        "migrations_database_url": own_database.owner_url,
        "secret_key": SECRET_KEY,
    }
    for _ in range(2):
        async with completed("migrate", **settings) as (code, program):
            assert (code, program.out) == (0, ["The database is up to date."])
    async with superuser_connection(own_database) as superuser:
        assert await superuser.fetchval("SELECT count(*) FROM alembic_version") == 1
        assert await superuser.fetchval("SELECT has_table_privilege('tessera_service', 'tickets', 'INSERT')")
        assert not await superuser.fetchval("SELECT has_table_privilege('tessera_service', 'tickets', 'TRUNCATE')")
        await superuser.execute("UPDATE alembic_version SET version_num = '9999'")
    newer = "tessera: the database has the schema of a newer version: nothing to migrate"
    async with completed("migrate", **settings) as (code, program):
        assert (code, program.out, program.errors) == (0, [], [newer])
    async with superuser_connection(own_database) as superuser:
        await superuser.execute("DELETE FROM supported_revisions")
    async with completed("migrate", **settings) as (code, program):
        assert (code, program.out, program.errors[0]) == (1, [], newer)
        assert program.errors[1].startswith("tessera: migrations: the database is at 9999, but this version requires")


async def test_a_metrics_port_in_use_is_reported_in_one_line(server: TestServer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = {"database_url": server.service_url, "secret_key": SECRET_KEY, "worker_metrics_port": port}
        async with completed("worker", **settings) as (code, program):
            assert code == 2
            (line,) = program.errors
            assert line.startswith("tessera: WORKER_METRICS_PORT: ")
            assert str(port) in line


@pytest.mark.parametrize("problem", ["no server", "no such database", "no such user"])
async def test_an_unreachable_database_is_reported_without_its_password(server: TestServer, problem: str) -> None:
    url = make_url(server.owner_url)
    urls = {
        "no server": make_url(NOWHERE),
        "no such database": url.set(database="nowhere"),
        "no such user": url.set(username="unknown", password="s3cret-of-unknown"),
    }
    database_url = urls[problem].render_as_string(hide_password=False)
    async with completed("migrate", database_url=database_url, secret_key=SECRET_KEY) as (code, program):
        assert code == 2
        (line,) = program.errors
        assert line.startswith("tessera: DATABASE_URL")
        assert "s3cret" not in line
