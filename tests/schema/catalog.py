"""Queries of PostgreSQL's system catalog about the tables, and a row for each table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg

import app.models  # noqa: F401 - all tables
from app.core.database.base import TableKind, find_tables
from app.core.ids import new_id
from tests.conftest import connect

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BOOKKEEPING = "alembic_version"
DIRECTORY_TABLES = find_tables(TableKind.DIRECTORY, TableKind.SIGN_IN, TableKind.LOCAL)
UNPROTECTED_TABLES = find_tables(TableKind.UNPROTECTED_TENANT)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Without NOT NULL: only PostgreSQL 18 and newer list it as a constraint, and `COLUMNS` has it.
CONSTRAINTS = """
    SELECT c.conrelid::regclass::text AS "table", c.conname AS name, c.contype::text AS kind,
           pg_get_constraintdef(c.oid) AS definition, c.confrelid::regclass::text AS referred,
           c.confdeltype::text AS on_delete, c.confupdtype::text AS on_update,
           ARRAY(SELECT attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (n, place)
                 JOIN pg_attribute ON attrelid = c.conrelid AND attnum = k.n ORDER BY place) AS columns,
           ARRAY(SELECT attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (n, place)
                 JOIN pg_attribute ON attrelid = c.confrelid AND attnum = k.n ORDER BY place) AS referred_columns
    FROM pg_constraint AS c
    WHERE c.connamespace = 'public'::regnamespace AND c.contype <> 'n' AND c.conrelid <> 0
    ORDER BY 1, 2
"""
COLUMNS = """
    SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AS not_null, pg_get_expr(d.adbin, d.adrelid) AS "default"
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
         LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, 2
"""
INDEXES = """
    SELECT c.relname AS "table", x.relname AS name, i.indisunique AS is_unique,
           pg_get_indexdef(i.indexrelid) AS definition,
           (SELECT attname FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0]) AS first_column
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_class AS x ON x.oid = i.indexrelid
    WHERE c.relnamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""
TABLES = """
    SELECT relname AS name, relrowsecurity AS protected, relforcerowsecurity AS forced
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1
"""
POLICIES = """
    SELECT tablename AS "table", permissive, roles::text[] AS roles, cmd, qual, with_check
    FROM pg_policies WHERE schemaname = 'public' ORDER BY 1, policyname
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def rolled_back(url: str) -> AsyncIterator[Connection]:
    """Open a transaction that is rolled back at the end."""
    async with connected(url) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection
        finally:
            await transaction.rollback()


async def list_tables(connection: Connection) -> list[str]:
    """List all tables but Alembic's."""
    return [row["name"] for row in await connection.fetch(TABLES) if row["name"] != BOOKKEEPING]


async def describe(connection: Connection, *queries: str) -> list[tuple[object, ...]]:
    """Return the results of these queries, for the comparison with another database."""
    found: list[tuple[object, ...]] = []
    for query in queries:
        rows = await connection.fetch(query)
        found.extend(tuple(tuple(v) if isinstance(v, list) else v for v in row.values()) for row in rows)
    return [row for row in found if row[0] != BOOKKEEPING]


async def fill(connection: Connection, org_id: UUID) -> None:
    """Insert one row into every table, for an organisation."""
    domain, user, ticket, role, delivery, requester = f"{org_id}.test", *(new_id() for _ in range(5))
    rows: dict[str, dict[str, object]] = {
        "organisations": {"id": org_id, "name": "Growfin", "domain": domain, "sandbox": True, "auto_close_days": 30,
                          "timezone": "UTC", "created_at": NOW},
        "secret_keys": {"org_id": org_id, "id": new_id(), "hash": org_id.bytes * 2, "created_at": NOW},
        "roles": {"org_id": org_id, "id": role, "name": "Lead", "kind": "ENGINEER", "permissions": ["tickets:view"],
                  "created_at": NOW, "updated_at": NOW},
        "users": {"org_id": org_id, "id": user, "first_name": "Ada", "last_name": "Lovelace",
                   "email": "ada@growfin.test", "role_kind": "ENGINEER", "role_id": role, "status": "PENDING",
                   "available": True, "created_at": NOW},
        "user_words": {"org_id": org_id, "word": "ada", "user_id": user},
        "links": {"org_id": org_id, "id": new_id(), "user_id": user, "purpose": "INVITATION",
                  "email": "ada@growfin.test", "created_at": NOW, "expires_at": NOW},
        "sessions": {"org_id": org_id, "id": new_id(), "user_id": user, "refresh_hash": b"1", "remembered": False,
                     "device": "", "address": "", "created_at": NOW, "last_used_at": NOW, "expires_at": NOW},
        "second_factors": {"org_id": org_id, "user_id": user, "secret": b"1", "last_step": 0, "created_at": NOW},
        "recovery_codes": {"org_id": org_id, "user_id": user, "hash": b"1"},
        "external_identities": {"org_id": org_id, "provider": "okta", "subject": "1", "user_id": user,
                                "created_at": NOW},
        "used_social_states": {"org_id": org_id, "state_hash": b"1", "expires_at": NOW},
        "pictures": {"org_id": org_id, "user_id": user, "image": b"1"},
        "menus": {"org_id": org_id, "id": new_id(), "name": "Tickets", "position": 1, "created_at": NOW,
                  "updated_at": NOW},
        "credentials": {"org_id": org_id, "user_id": user, "email": "ada@growfin.test", "password_hash": None},
        "counters": {"org_id": org_id},
        "relays": {"org_id": org_id},
        "requesters": {"org_id": org_id, "id": requester, "email": "mia@customer.test", "name": "Mia",
                       "user_id": user, "created_at": NOW},
        "requester_words": {"org_id": org_id, "word": "mia", "requester_id": requester},
        "tickets": {"org_id": org_id, "id": ticket, "number": 1, "title": "It broke", "description": "All of it.",
                    "status": "OPEN", "priority": "LOW", "requester_id": requester, "assignee_id": user,
                    "created_at": NOW, "updated_at": NOW},
        "comments": {"org_id": org_id, "id": new_id(), "ticket_id": ticket, "author_id": user,
                             "message": "Fixed.", "created_at": NOW},
        "ticket_search": {"org_id": org_id, "ticket_id": ticket, "version": 1, "lexemes": "'broke' 'it'",
                          "replies": "'mended'"},
        "events": {"org_id": org_id, "seq": 1, "id": new_id(), "type": "ticket.created", "version": 1,
                   "subject_id": ticket, "actor_type": "SYSTEM", "data": "{}", "created_at": NOW},
        "timers": {"org_id": org_id, "subject_id": ticket, "kind": "AUTO_CLOSE", "due_at": NOW},
        "deliveries": {"org_id": org_id, "id": delivery, "channel": "EMAIL", "lane": "customer.test",
                       "status": "QUEUED", "created_at": NOW},
        "mails": {"org_id": org_id, "id": delivery, "recipient": "mia@customer.test", "subject": "Re",
                  "body_text": "Fixed.", "created_at": NOW},
        "outside_recipients": {"org_id": org_id, "address_hash": b"1", "mailed_at": NOW},
        "relay_failures": {"org_id": org_id, "id": new_id(), "seq": 1, "subscriber": "mail", "attempts": 1,
                           "last_error": "no", "created_at": NOW},
        "supported_revisions": {"revision": f"of {org_id}"},
        "credential_changes": {"id": new_id(), "org_id": org_id, "created_at": NOW},
        "job_runs": {"name": f"timers of {org_id}", "every_seconds": 1, "last_run_at": NOW},
    }  # fmt: skip
    for table, values in rows.items():
        places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
        await connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())
    assert set(rows) == set(await list_tables(connection)), "a new table needs a row here"
