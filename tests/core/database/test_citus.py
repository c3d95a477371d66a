"""Distribution over the nodes of Citus, on a stand-in with the names of Citus's own catalogue and functions.

The stand-in refuses what Citus refuses: a table under forced row level security that holds rows, a table whose foreign
key leads to a table that has no place yet, and a second placement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from app.core.database import citus
from app.core.database.base import Base, TableKind, find_tables
from app.core.database.migrations import migrate
from app.operations.doctor import Finding, check_database
from tests.conftest import settings_for
from tests.databases import create_organisation, create_test_database, open_pool, superuser_connection
from tests.postgres import TestServer

if TYPE_CHECKING:
    from tests.databases import Superuser

STAND_IN = """
    CREATE TABLE citus_tables (
        table_name regclass PRIMARY KEY, citus_table_type text, distribution_column text, colocation_id int
    );
    GRANT ALL ON citus_tables TO PUBLIC;
    GRANT SET ON PARAMETER citus.propagate_set_commands TO PUBLIC;  -- which the extension would define

    CREATE FUNCTION ensure_placeable(wanted regclass) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('citus.enable_local_reference_table_foreign_keys', true) IS DISTINCT FROM 'off' THEN
            RAISE 'local tables would become part of the metadata';
        END IF;
        IF EXISTS (SELECT FROM citus_tables WHERE table_name = wanted) THEN
            RAISE '% has its place already', wanted;
        END IF;
        IF (SELECT relforcerowsecurity FROM pg_class WHERE oid = wanted) THEN
            RAISE 'row level security hides the rows of %', wanted;
        END IF;
        IF EXISTS (
            SELECT FROM pg_constraint WHERE conrelid = wanted AND contype = 'f' AND confrelid <> wanted
                   AND confrelid NOT IN (SELECT table_name FROM citus_tables)
        ) THEN
            RAISE '% refers to a local table', wanted;
        END IF;
    END $$;

    CREATE FUNCTION create_distributed_table(wanted regclass, key text, colocate_with text) RETURNS void
    LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM ensure_placeable(wanted);
        INSERT INTO citus_tables VALUES (wanted, 'distributed', key, CASE colocate_with
            WHEN 'none' THEN 1 + coalesce((SELECT max(colocation_id) FROM citus_tables), 0)
            ELSE (SELECT colocation_id FROM citus_tables WHERE table_name = colocate_with::regclass) END);
    END $$;

    CREATE FUNCTION create_reference_table(wanted regclass) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM ensure_placeable(wanted);
        INSERT INTO citus_tables VALUES (wanted, 'reference', NULL, 0);
    END $$;
"""
FORCED = "SELECT relname::text FROM pg_class WHERE relforcerowsecurity ORDER BY 1"
SETTINGS = """
    SELECT setconfig FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
    WHERE datname = current_database()
"""
PLACES = "SELECT table_name::text AS name, citus_table_type AS type, colocation_id FROM citus_tables"


DISTRIBUTED, REFERENCE = set(citus.find_distributed_tables()), set(citus.find_reference_tables())


@pytest.fixture
async def server(server: TestServer) -> TestServer:
    return await create_test_database(server, f"citus_{uuid4().hex[:8]}")


@pytest.fixture
async def superuser(server: TestServer) -> AsyncIterator[Superuser]:
    async with superuser_connection(server) as connection:
        await connection.execute(STAND_IN)
        yield connection


async def migrate_again(server: TestServer) -> None:
    await asyncio.to_thread(migrate, server.owner_url, make_url(server.service_url).username)


async def read_places(superuser: Superuser) -> dict[str, tuple[str, int]]:
    return {row["name"]: (row["type"], row["colocation_id"]) for row in await superuser.fetch(PLACES)}


async def check_distribution(server: TestServer) -> Finding | None:
    findings = {one.check: one for one in await check_database(settings_for(server))}
    assert all(one.is_ok for name, one in findings.items() if name != "distribution")
    return findings.get("distribution")


async def test_migrating_distributes_tables_that_hold_rows(server: TestServer, superuser: Superuser) -> None:
    async with open_pool(server) as pool:
        await create_organisation(pool)
    forced = await superuser.fetch(FORCED)

    await migrate_again(server)

    places = await read_places(superuser)
    assert {name for name, (type_, _) in places.items() if type_ == "distributed"} == DISTRIBUTED
    assert {name for name, (type_, _) in places.items() if type_ == "reference"} == REFERENCE
    assert len({colocation_id for type_, colocation_id in places.values() if type_ == "distributed"}) == 1
    assert await superuser.fetch(FORCED) == forced
    assert len(forced) > 10


async def test_migrating_again_places_only_what_has_no_place_yet(server: TestServer, superuser: Superuser) -> None:
    await migrate_again(server)
    places = await read_places(superuser)
    await superuser.execute("DELETE FROM citus_tables WHERE table_name IN ('comments'::regclass, 'pictures'::regclass)")

    await migrate_again(server)
    await migrate_again(server)

    assert await read_places(superuser) == places


async def test_every_table_with_an_organisation_has_a_place() -> None:
    with_organisation = {table.name for table in Base.metadata.tables.values() if "org_id" in table.columns}
    assert (with_organisation | {"organisations"}) - find_tables(TableKind.LOCAL) == DISTRIBUTED | REFERENCE
    assert citus.find_distributed_tables()[0] == "counters"


async def test_a_database_without_citus_stays_as_it_is(server: TestServer) -> None:
    await migrate_again(server)

    async with superuser_connection(server) as superuser:
        assert await superuser.fetch(SETTINGS) == []
    assert await check_distribution(server) is None


@pytest.mark.usefixtures("superuser")
async def test_the_doctor_checks_tables_and_settings(server: TestServer) -> None:
    missing = await check_distribution(server)
    assert missing is not None
    assert not missing.is_ok
    assert "counters" in missing.detail
    assert "run `tessera migrate`" in missing.detail

    await migrate_again(server)
    assert await check_distribution(server) == Finding(
        True, "distribution", "every table has its place on the nodes of Citus"
    )


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        ("UPDATE citus_tables SET colocation_id = 9 WHERE table_name = 'tickets'::regclass", "tickets"),
        ("UPDATE citus_tables SET distribution_column = 'id' WHERE table_name = 'users'::regclass", "users"),
        (
            "UPDATE citus_tables SET citus_table_type = 'distributed' WHERE table_name = 'organisations'::regclass",
            "organi",
        ),
        ("DELETE FROM citus_tables WHERE table_name = 'secret_keys'::regclass", "secret_keys"),
    ],
)
async def test_the_doctor_finds_a_table_in_the_wrong_place(
    server: TestServer, superuser: Superuser, damage: str, detail: str
) -> None:
    await migrate_again(server)
    await superuser.execute(damage)

    found = await check_distribution(server)

    assert found is not None
    assert not found.is_ok
    assert f"not on the nodes as they must be: {detail}" in found.detail


@pytest.mark.parametrize("setting", citus.DATABASE_SETTINGS)
async def test_the_doctor_finds_a_missing_setting(server: TestServer, superuser: Superuser, setting: str) -> None:
    await migrate_again(server)
    await superuser.execute(f"ALTER DATABASE {make_url(server.service_url).database} RESET {setting}")

    found = await check_distribution(server)

    assert found is not None
    assert not found.is_ok
    assert f"the database lacks the settings {setting} = " in found.detail
