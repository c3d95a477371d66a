"""Row level security keeps the rows of organisations apart, for the service and for the owner of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.postgres import TestServer
from tests.schema import catalog
from tests.schema.catalog import DIRECTORY_TABLES, UNPROTECTED_TABLES, Connection, connected, rolled_back


@pytest.fixture(scope="module")
async def organisations(scratch: TestServer) -> tuple[UUID, UUID]:
    """Two organisations with a row in every table."""
    ours, theirs = uuid4(), uuid4()
    async with connected(scratch.superuser_url) as connection:
        for org_id in (ours, theirs):
            await catalog.fill(connection, org_id)
    return ours, theirs


@pytest.fixture(params=["service_url", "owner_url"])
async def role(request: pytest.FixtureRequest, scratch: TestServer) -> AsyncIterator[Connection]:
    """A transaction as the service, or as the owner of the tables."""
    async with rolled_back(getattr(scratch, request.param)) as connection:
        yield connection


async def protected_tables(connection: Connection) -> list[str]:
    exceptions = DIRECTORY_TABLES | UNPROTECTED_TABLES
    return [name for name in await catalog.list_tables(connection) if name not in exceptions]


async def set_organisation(connection: Connection, org_id: object) -> None:
    await connection.execute(f"SET LOCAL app.org_id = '{org_id}'")


@pytest.mark.usefixtures("organisations")
@pytest.mark.parametrize("org_id", [None, ""])
async def test_without_an_organisation_no_rows_are_visible(role: Connection, org_id: str | None) -> None:
    if org_id is not None:
        await set_organisation(
            role, org_id
        )  # the empty value remains on a connection after a transaction that has set it

    for table in await protected_tables(role):
        assert await role.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        assert await role.execute(f"DELETE FROM {table}") == "DELETE 0", table


async def test_an_organisation_sees_only_its_own_rows(role: Connection, organisations: tuple[UUID, UUID]) -> None:
    ours, theirs = organisations
    await set_organisation(role, ours)

    for table in await protected_tables(role):
        assert {row[0] for row in await role.fetch(f"SELECT org_id FROM {table}")} == {ours}, table
        assert await role.fetch(f"SELECT FROM {table} WHERE org_id = $1", theirs) == [], table


async def test_an_organisation_cannot_change_rows_of_another(
    role: Connection, organisations: tuple[UUID, UUID]
) -> None:
    ours, theirs = organisations
    await set_organisation(role, ours)

    for table in await protected_tables(role):
        changed = await role.execute(f"UPDATE {table} SET org_id = org_id WHERE org_id = $1", theirs)
        assert changed == "UPDATE 0", table
        assert await role.execute(f"DELETE FROM {table} WHERE org_id = $1", theirs) == "DELETE 0", table


async def test_an_organisation_cannot_write_a_row_of_another(
    role: Connection, organisations: tuple[UUID, UUID]
) -> None:
    ours, theirs = organisations
    await set_organisation(role, ours)

    for table in await protected_tables(role):
        moved_row = f"jsonb_populate_record(NULL::{table}, to_jsonb(one) || jsonb_build_object('org_id', $1::text))"
        for statement in (
            f"INSERT INTO {table} SELECT ({moved_row}).* FROM {table} AS one",
            f"UPDATE {table} SET org_id = $1::text::uuid",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                async with role.transaction():
                    await role.execute(statement, str(theirs))


@pytest.mark.usefixtures("organisations")
async def test_an_invalid_organisation_id_is_an_error(role: Connection) -> None:
    await set_organisation(role, "*")

    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await role.fetch("SELECT FROM tickets")
