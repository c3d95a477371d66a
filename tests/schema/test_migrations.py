"""Migrations: up, down and up again with data in the tables, and their agreement with the models."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import exc, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.database.migrations import SCRIPTS, find_head_revision, make_alembic_config, migrate
from app.core.database.revisions import find_supported_revisions
from app.models import Base
from tests.conftest import SECRET_KEY
from tests.postgres import TestServer
from tests.schema import catalog
from tests.schema.catalog import BOOKKEEPING, COLUMNS, CONSTRAINTS, INDEXES, POLICIES, TABLES, connected

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
SERVICE = "tessera_service"
ADVISORY_LOCK = 8_377_327_225  # as in `migrations/env.py`, which can be imported only by Alembic


async def up(server: TestServer, revision: str = "head") -> None:
    # Alembic's environment runs an event loop, which needs a thread without one.
    await asyncio.to_thread(command.upgrade, make_alembic_config(server.owner_url, SERVICE), revision)


async def down(server: TestServer, revision: str) -> None:
    await asyncio.to_thread(command.downgrade, make_alembic_config(server.owner_url, SERVICE), revision)


async def check(server: TestServer) -> None:
    await asyncio.to_thread(command.check, make_alembic_config(server.owner_url))


async def describe(server: TestServer, *queries: str) -> list[tuple[object, ...]]:
    async with connected(server.superuser_url) as connection:
        return await catalog.describe(connection, *queries)


async def test_the_migrations_create_everything_in_the_models(scratch: TestServer) -> None:
    await check(scratch)


async def test_a_table_that_differs_from_its_model_is_detected(empty: TestServer) -> None:
    await up(empty)
    async with connected(empty.owner_url) as connection:
        await connection.execute("ALTER TABLE tickets ADD colour text")

    with pytest.raises(CommandError, match="colour"):
        await check(empty)


async def test_migrated_tables_have_the_same_checks_and_predicates_as_the_models(
    empty: TestServer, scratch: TestServer
) -> None:
    # `alembic check` compares neither CHECKs nor the predicates of partial indexes.
    engine = create_async_engine(empty.owner_url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()

    assert await describe(scratch, COLUMNS, CONSTRAINTS, INDEXES) == await describe(
        empty, COLUMNS, CONSTRAINTS, INDEXES
    )


async def test_migrations_go_up_down_and_up_again_with_data_in_the_tables(empty: TestServer) -> None:
    everything = (TABLES, COLUMNS, CONSTRAINTS, INDEXES, POLICIES)
    await up(empty)
    at_first = await describe(empty, *everything)

    for _ in list_revisions():
        await fill_every_table(empty)
        # Undo and repeat the last migration.
        await down(empty, "-1")
        await up(empty, "+1")
        assert await describe(empty, *everything) == at_first
    await fill_every_table(empty)
    for _ in list_revisions():
        await down(empty, "-1")
    assert await describe(empty, *everything) == []

    await up(empty)
    assert await describe(empty, *everything) == at_first


def list_revisions() -> list[str]:
    script = ScriptDirectory.from_config(make_alembic_config(""))
    return [one.revision for one in script.walk_revisions()]


async def fill_every_table(server: TestServer) -> None:
    async with connected(server.superuser_url) as connection:
        await catalog.fill(connection, uuid4())


async def test_revisions_have_no_branches() -> None:
    script = ScriptDirectory.from_config(make_alembic_config(""))

    assert script.get_bases() == [list_revisions()[-1]]
    assert script.get_heads() == [list_revisions()[0]] == [find_head_revision()]


async def test_migrating_again_changes_nothing(empty: TestServer) -> None:
    everything = (TABLES, COLUMNS, CONSTRAINTS, INDEXES, POLICIES)
    await up(empty)
    before = await describe(empty, *everything)

    await asyncio.to_thread(migrate, empty.owner_url, SERVICE)

    assert await describe(empty, *everything) == before


async def test_concurrent_migrations_both_succeed(empty: TestServer) -> None:
    environment = os.environ | {
        "DATABASE_URL": empty.service_url,
        "MIGRATIONS_DATABASE_URL": empty.owner_url,
        "SECRET_KEY": SECRET_KEY,
    }
    both = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from app.cli import main; main()", "migrate",
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(2)
    ]  # fmt: skip

    said = [(await one.communicate())[0].decode() for one in both]

    assert [one.returncode for one in both] == [0, 0], said
    await check(empty)


async def test_a_migration_waits_for_a_running_one(empty: TestServer) -> None:
    async with connected(empty.superuser_url) as other:
        await other.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        waiting = asyncio.create_task(up(empty))
        await asyncio.sleep(5.5)  # longer than the timeout for locks of tables
        assert not waiting.done()

    await waiting
    await check(empty)


async def test_the_service_role_may_only_read_and_write_rows(scratch: TestServer) -> None:
    async with connected(scratch.superuser_url) as connection:
        rows = await connection.fetch(
            """
            SELECT t.relname, p.privilege, has_table_privilege($1, t.oid, p.privilege) AS granted
            FROM pg_class AS t, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',
                                             'TRIGGER']) AS p (privilege)
            WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r'
            """,
            SERVICE,
        )
        may_create = await connection.fetchval("SELECT has_schema_privilege($1, 'public', 'CREATE')", SERVICE)

    names = {row["relname"] for row in rows}
    granted = {name: {row["privilege"] for row in rows if row["relname"] == name and row["granted"]} for name in names}
    assert granted.pop(BOOKKEEPING) == granted.pop("supported_revisions") == {"SELECT"}
    assert granted
    assert all(privileges == {"SELECT", "INSERT", "UPDATE", "DELETE"} for privileges in granted.values())
    assert not may_create


async def test_a_migration_that_cannot_lock_a_table_fails_instead_of_blocking_the_service(empty: TestServer) -> None:
    await up(empty)
    async with connected(empty.superuser_url) as holder:
        # Like a long read of a table: a statement that changes the table waits for it, and all others wait behind that.
        await holder.execute("BEGIN; LOCK TABLE tickets IN ACCESS SHARE MODE")
        began = time.monotonic()

        with pytest.raises(exc.DBAPIError) as caught:
            await asyncio.wait_for(down(empty, "base"), 30)

        assert getattr(caught.value.orig, "sqlstate", None) == asyncpg.LockNotAvailableError.sqlstate
        assert time.monotonic() - began < 10
    # Each migration is a transaction: earlier ones are undone, and the one that timed out has no effect.
    await up(empty)
    await check(empty)


def test_migration_files_are_named_by_date_and_content() -> None:
    names = sorted(path.name for path in VERSIONS.glob("*.py"))

    assert names
    assert [name for name in names if not re.fullmatch(r"\d{4}-\d\d-\d\d-\d{4}_[a-z0-9_]+\.py", name)] == []
    assert len(names) == len(list_revisions())


async def test_the_tests_use_separate_roles_as_in_production(scratch: TestServer) -> None:
    async with connected(scratch.superuser_url) as connection:
        rows = await connection.fetch(
            "SELECT rolname, rolsuper OR rolbypassrls AS bypasses_rls FROM pg_roles WHERE rolname = ANY($1)",
            [make_url(url).username for url in (scratch.service_url, scratch.owner_url)],
        )

    assert sorted(tuple(row) for row in rows) == [("tessera_owner", False), (SERVICE, False)]


async def test_the_database_lists_the_versions_that_work_with_it_in_both_directions(empty: TestServer) -> None:
    supported = sorted(find_supported_revisions(ScriptDirectory(str(SCRIPTS)), "head"))
    await up(empty)
    assert await read_supported(empty) == supported

    await down(empty, "-1")
    assert await read_supported(empty) != supported
    await up(empty)
    assert await read_supported(empty) == supported


async def read_supported(server: TestServer) -> list[str]:
    async with connected(server.owner_url) as connection:
        rows = await connection.fetch("SELECT revision FROM supported_revisions ORDER BY revision")
    return [row["revision"] for row in rows]


async def test_a_failing_migration_leaves_the_list_of_the_one_before(empty: TestServer, tmp_path: Path) -> None:
    head = find_head_revision()
    scripts = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, scripts)
    removing = f'revision = "removing"\ndown_revision = "{head}"\noldest_supported = "removing"\n'
    (scripts / "versions/removing.py").write_text(f"{removing}def upgrade(): pass\n")
    failing = 'revision = "failing"\ndown_revision = "removing"\n'
    (scripts / "versions/failing.py").write_text(f"{failing}def upgrade(): raise RuntimeError\n")
    config = make_alembic_config(empty.owner_url, SERVICE)
    config.set_main_option("script_location", str(scripts))

    with pytest.raises(RuntimeError):
        await asyncio.to_thread(command.upgrade, config, "head")

    assert await read_supported(empty) == ["removing"]
