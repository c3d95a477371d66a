"""Query plans of lists of users: each filter reads an index that starts with `org_id`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.access.user_permissions import RoleKind
from app.accounts.roles import queries as roles
from app.accounts.users import queries
from app.accounts.users.filters import UserFilters
from app.accounts.users.rules import UserStatus
from app.accounts.users.schemas import UserListQuery
from tests.postgres import TestServer
from tests.schema.catalog import Connection, connected, rolled_back
from tests.schema.plans import ORG, START, explain, find_problems, find_statement_problems, nodes, used_indexes

USER_ID = UUID("00000001-0000-0000-0000-000000000007")
WORDS = """
    INSERT INTO user_words (org_id, word, user_id)
    SELECT org_id, word, id FROM users, unnest(ARRAY['ada', 'lovelace', email]) AS word ON CONFLICT DO NOTHING
"""
CUSTOMERS = f"""
    INSERT INTO users (org_id, id, first_name, last_name, email, role_kind, status, available, created_at)
    SELECT '{ORG}', gen_random_uuid(), 'Mia', 'Holm', 'mia' || n || '@growfin.test', 'CUSTOMER', 'ACTIVE', false,
           '{START}'
    FROM generate_series(1, 20000) AS n;
"""
FILTERS_BY_NAME: dict[str, UserFilters] = {
    "everything": UserFilters(),
    "role": UserFilters(role=[RoleKind.ADMIN]),
    "role twice": UserFilters(role=[RoleKind.ADMIN, RoleKind.ENGINEER]),
    "status": UserFilters(status=[UserStatus.PENDING]),
    "status twice": UserFilters(status=[UserStatus.PENDING, UserStatus.SUSPENDED]),
    "available": UserFilters(available=True),
    "q": UserFilters(q="admin12"),
    "q with spellings": UserFilters(q="müller o'connor 089 1234567 山田 ad@grow.test"),
    "q of two words": UserFilters(q="admin12 love"),
    "all of them": UserFilters(role=[RoleKind.ADMIN], status=[UserStatus.ACTIVE], available=True, q="admin12 love"),
}


@pytest.fixture(scope="module", autouse=True)
async def _words(filled: TestServer) -> None:
    async with connected(filled.superuser_url) as connection:
        await connection.execute(WORDS)
        await connection.execute("VACUUM ANALYZE user_words")


def test_every_filter_of_users_is_tested() -> None:
    parameters_of_the_operation = {field.alias for field in UserListQuery.model_fields.values()}
    assert parameters_of_the_operation - {"include", "limit", "cursor"} == {"role", "status", "available", "q"}


@pytest.mark.parametrize("name", FILTERS_BY_NAME)
async def test_a_list_of_users_is_read_from_indexes(service_connection: Connection, session: Any, name: str) -> None:
    db, sent_statements = session
    await queries.list_page(db, ORG, FILTERS_BY_NAME[name], after=None, limit=21)
    await queries.list_page(db, ORG, FILTERS_BY_NAME[name], after=USER_ID, limit=21)
    await queries.count(db, ORG, FILTERS_BY_NAME[name])

    assert len(sent_statements) == 3
    for sql, parameters in sent_statements:
        assert await find_statement_problems(service_connection, sql, parameters) == [], sql


async def test_a_prefix_of_a_word_is_a_range_of_the_index(service_connection: Connection, session: Any) -> None:
    db, sent_statements = session
    found = await queries.list_page(db, ORG, FILTERS_BY_NAME["q"], after=None, limit=21)
    plan = await explain(service_connection, *sent_statements[0])

    assert [user.email for user in found] == [f"admin{n}@growfin.test" for n in range(129, 119, -1)] + [
        "admin12@growfin.test"
    ]
    (words,) = [node for node in nodes(plan) if node.get("Index Name") == "pk_user_words"]
    assert "word >= " in words["Index Cond"]
    assert "word < " in words["Index Cond"]


async def test_users_are_locked_through_indexes(service_connection: Connection, session: Any) -> None:
    db, sent_statements = session
    locked = await queries.lock_with_admins(db, ORG, USER_ID)
    await roles.lock_assignable(db, ORG, USER_ID)
    assert USER_ID in locked

    assert await find_statement_problems(service_connection, *sent_statements[0]) == []
    assert await find_statement_problems(service_connection, *sent_statements[-1]) == []


async def test_admins_are_found_among_many_customers(filled: TestServer, session: Any) -> None:
    db, sent_statements = session
    await queries.lock_with_admins(db, ORG, USER_ID)
    await db.rollback()  # releases the locked rows
    async with rolled_back(filled.superuser_url) as connection:
        await connection.execute(CUSTOMERS)
        await connection.execute("ANALYZE users")
        await connection.execute(f"SET LOCAL ROLE tessera_service; SET LOCAL app.org_id = '{ORG}'")
        plan = await explain(connection, *sent_statements[0])

        assert find_problems(plan) == []
        assert used_indexes(plan) == {"pk_users", "ix_users_org_id_role_kind_id"}
