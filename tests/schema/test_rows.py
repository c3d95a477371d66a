"""The rules of tables, checked in PostgreSQL's system catalog.

They make it possible to distribute the tables over servers by `org_id`, and keep organisations apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import pytest

from app.core.database.base import NAMING_CONVENTION, TableKind, find_tables
from app.models import Base
from tests.schema import catalog
from tests.schema.catalog import BOOKKEEPING, DIRECTORY_TABLES, UNPROTECTED_TABLES, Connection

POLICY = "(org_id = (NULLIF(current_setting('app.org_id'::text, true), ''::text))::uuid)"
# Tables without row level security hold only ids, kinds, numbers and times, and no content of tenants.
PLAIN_TYPES = {"uuid", "bigint", "smallint", "integer", "boolean", "timestamp with time zone"}
PLAIN_TEXTS = {"kind"}
# The exception: words of tickets, since PostgreSQL uses no full-text index under row level security. Each word starts
# with its organisation's prefix, and they are read only together with the tickets, which are protected.
KEYS_BY_TICKET = {"ticket_search"}  # else a search by words would read all of an organisation's keys
WORDS = {("ticket_search", "lexemes", "tsvector"), ("ticket_search", "replies", "tsvector")}
NAMES_OF = {"p": "pk", "u": "uq", "f": "fk", "c": "ck", "x": "ex"}


async def find_breaches(connection: Connection) -> list[str]:
    """Describe the rules that tables break, each in a sentence."""
    rows = {
        name: [row for row in await connection.fetch(query) if row[0] != BOOKKEEPING]
        for name, query in {
            "tables": catalog.TABLES,
            "columns": catalog.COLUMNS,
            "constraints": catalog.CONSTRAINTS,
            "indexes": catalog.INDEXES,
            "policies": catalog.POLICIES,
        }.items()
    }
    found = [*_of_columns(rows), *_of_keys(rows), *_of_names(rows), *_of_row_security(rows)]
    return sorted([*found, *await _of_forbidden_objects(connection)])


Rows = Mapping[str, list[asyncpg.Record]]


def _of_columns(rows: Rows) -> list[str]:
    found = []
    org_ids = {column["table"]: column for column in rows["columns"] if column["name"] == "org_id"}
    for table in (table["name"] for table in rows["tables"] if table["name"] not in DIRECTORY_TABLES):
        if table not in org_ids:
            found.append(f"{table} has no org_id and is not declared a directory table")
        elif (org_ids[table]["type"], org_ids[table]["not_null"]) != ("uuid", True):
            found.append(f"{table}.org_id is not uuid NOT NULL")
    for column in rows["columns"]:
        is_plain = (
            column["type"] in PLAIN_TYPES
            or column["name"] in PLAIN_TEXTS
            or (column["table"], column["name"], column["type"]) in WORDS
        )
        if column["table"] in UNPROTECTED_TABLES and not is_plain:
            found.append(f"{column['table']}.{column['name']} can hold content, without row level security")
        if column["type"] == "timestamp without time zone" or column["type"].startswith("character"):
            found.append(f"{column['table']}.{column['name']} is {column['type']}")
    return found


def _of_keys(rows: Rows) -> list[str]:
    found = []
    tenant = {table["name"] for table in rows["tables"]} - DIRECTORY_TABLES
    tables_with_key = {one["table"] for one in rows["constraints"] if one["kind"] == "p"}
    found += [f"{table} has no primary key" for table in {one["name"] for one in rows["tables"]} - tables_with_key]
    for one in rows["constraints"]:
        if one["table"] not in tenant:
            continue
        if one["kind"] == "p" and one["columns"][0] != "org_id" and one["table"] not in KEYS_BY_TICKET:
            found.append(f"the primary key of {one['table']} does not start with org_id")
        if one["kind"] == "f" and one["referred"] in tenant:
            if (one["columns"][0], one["referred_columns"][0]) != ("org_id", "org_id"):
                found.append(f"{one['name']} does not start with org_id on both sides")
            if one["on_delete"] != "a" or one["on_update"] != "a":
                found.append(f"{one['name']} changes other rows by itself")
    for index in rows["indexes"]:
        is_unique = index["table"] in tenant - KEYS_BY_TICKET and index["is_unique"]
        if is_unique and index["first_column"] != "org_id":
            found.append(f"unique {index['name']} does not start with org_id")
    return found


def _of_names(rows: Rows) -> list[str]:
    found = []
    for one in rows["constraints"]:
        parts = {
            "table_name": one["table"],
            "column_0_N_name": "_".join(one["columns"]),
            "referred_table_name": one["referred"],
            "constraint_name": one["name"].removeprefix(f"ck_{one['table']}_"),
        }
        kind = NAMES_OF[one["kind"]]
        if kind not in NAMING_CONVENTION or one["name"] != NAMING_CONVENTION[kind] % parts:
            found.append(f"{one['name']} of {one['table']} is not named by the convention")
        if f"_{kind}_" in one["name"]:
            found.append(f"{one['name']} of {one['table']} is named twice over")
    constraints = {one["name"] for one in rows["constraints"]}
    return found + [
        f"{index['name']} of {index['table']} is not named by the convention"
        for index in rows["indexes"]
        if index["name"] not in constraints and not index["name"].startswith(f"ix_{index['table']}_")
    ]


def _of_row_security(rows: Rows) -> list[str]:
    found = []
    expected = {"permissive": "PERMISSIVE", "roles": ["public"], "cmd": "ALL", "qual": POLICY, "with_check": None}
    for table in rows["tables"]:
        policies = [{name: one[name] for name in expected} for one in rows["policies"] if one["table"] == table["name"]]
        if table["name"] in DIRECTORY_TABLES | UNPROTECTED_TABLES:
            if table["protected"] or policies:
                found.append(f"{table['name']} is read across organisations, but has row level security")
        elif not (table["protected"] and table["forced"]):
            found.append(f"row level security is not enabled and forced on {table['name']}")
        elif policies != [expected]:
            found.append(f"the policy of {table['name']} is not the one that all have")
    return found


async def _of_forbidden_objects(connection: Connection) -> list[str]:
    found = await connection.fetch(
        """
        SELECT format('%s is an enum', typname) FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'
        UNION ALL
        SELECT format('%s has the trigger %s', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT format('%s counts by itself', relname) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
        """
    )
    return [row[0] for row in found]


async def test_every_table_keeps_the_rules(superuser: Connection) -> None:
    assert await find_breaches(superuser) == []


async def test_the_tables_are_those_of_the_models_and_include_the_exceptions(superuser: Connection) -> None:
    tables = await catalog.list_tables(superuser)

    assert set(tables) == set(Base.metadata.tables)
    assert set(tables) > DIRECTORY_TABLES | UNPROTECTED_TABLES
    assert find_tables(TableKind.DIRECTORY) == {"organisations", "secret_keys"}
    assert find_tables(TableKind.LOCAL) == {"credential_changes", "job_runs", "supported_revisions"}
    assert find_tables(TableKind.SIGN_IN) == {"credentials"}
    assert find_tables(TableKind.UNPROTECTED_TENANT) == {"counters", "relays", "timers", "ticket_search"}


GOOD = """
    CREATE TABLE notes (org_id uuid NOT NULL, id uuid NOT NULL, ticket_id uuid, text text,
        CONSTRAINT pk_notes PRIMARY KEY (org_id, id),
        CONSTRAINT fk_notes_org_id_ticket_id_tickets FOREIGN KEY (org_id, ticket_id) REFERENCES tickets (org_id, id));
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE notes FORCE ROW LEVEL SECURITY;
    CREATE POLICY notes_of_the_organisation ON notes
        USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
"""
USING = "USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)"


async def test_a_new_table_that_keeps_the_rules_is_accepted(superuser: Connection) -> None:
    await superuser.execute(GOOD)

    assert await find_breaches(superuser) == []


@pytest.mark.parametrize(
    ("bad", "breach"),
    [
        (
            "CREATE TABLE colours (id uuid CONSTRAINT pk_colours PRIMARY KEY)",
            "colours has no org_id and is not declared a directory table",
        ),
        ("ALTER TABLE notes DROP CONSTRAINT pk_notes", "notes has no primary key"),
        (
            "ALTER TABLE notes DROP CONSTRAINT pk_notes; ALTER TABLE notes ALTER org_id DROP NOT NULL",
            "notes.org_id is not uuid NOT NULL",
        ),
        (
            "ALTER TABLE notes DROP CONSTRAINT pk_notes, ADD CONSTRAINT pk_notes PRIMARY KEY (id, org_id)",
            "the primary key of notes does not start with org_id",
        ),
        (
            "ALTER TABLE notes ADD CONSTRAINT uq_notes_text UNIQUE (text)",
            "unique uq_notes_text does not start with org_id",
        ),
        ("CREATE UNIQUE INDEX ix_notes_text ON notes (text)", "unique ix_notes_text does not start with org_id"),
        (
            "CREATE UNIQUE INDEX ix_notes_lower ON notes (lower(text))",
            "unique ix_notes_lower does not start with org_id",
        ),
        (
            (
                "ALTER TABLE tickets ADD CONSTRAINT uq_tickets_id_org_id UNIQUE (id, org_id);"
                "ALTER TABLE notes ADD CONSTRAINT fk_notes_ticket_id_org_id_tickets "
                "FOREIGN KEY (ticket_id, org_id) REFERENCES tickets (id, org_id)"
            ),
            "fk_notes_ticket_id_org_id_tickets does not start with org_id on both sides",
        ),
        (
            (
                "ALTER TABLE notes DROP CONSTRAINT fk_notes_org_id_ticket_id_tickets,"
                "ADD CONSTRAINT fk_notes_org_id_ticket_id_tickets FOREIGN KEY (org_id, ticket_id) "
                "REFERENCES tickets (org_id, id) ON DELETE SET NULL"
            ),
            "fk_notes_org_id_ticket_id_tickets changes other rows by itself",
        ),
        (
            "ALTER TABLE notes ADD CHECK (text <> '')",
            "notes_text_check of notes is not named by the convention",
        ),
        (
            "ALTER TABLE notes ADD CONSTRAINT ck_notes_ck_notes_text CHECK (text <> '')",
            "ck_notes_ck_notes_text of notes is named twice over",
        ),
        ("CREATE INDEX ON notes (org_id, text)", "notes_org_id_text_idx of notes is not named by the convention"),
        ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", "row level security is not enabled and forced on notes"),
        ("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY", "row level security is not enabled and forced on notes"),
        ("DROP POLICY notes_of_the_organisation ON notes", "the policy of notes is not the one that all have"),
        (
            f"DROP POLICY notes_of_the_organisation ON notes; CREATE POLICY p ON notes FOR SELECT {USING}",
            "the policy of notes is not the one that all have",
        ),
        ("CREATE POLICY also ON notes USING (true)", "the policy of notes is not the one that all have"),
        (
            "ALTER POLICY notes_of_the_organisation ON notes WITH CHECK (true)",
            "the policy of notes is not the one that all have",
        ),
        (
            "ALTER TABLE timers ENABLE ROW LEVEL SECURITY",
            "timers is read across organisations, but has row level security",
        ),
        ("ALTER TABLE timers ADD title text", "timers.title can hold content, without row level security"),
        ("ALTER TABLE counters ADD data jsonb", "counters.data can hold content, without row level security"),
        (
            "ALTER TABLE ticket_search ADD title text",
            "ticket_search.title can hold content, without row level security",
        ),
        (
            "ALTER TABLE ticket_search ADD notes tsvector",
            "ticket_search.notes can hold content, without row level security",
        ),
        (
            (
                "DROP INDEX ix_ticket_search_lexemes_replies;"
                "ALTER TABLE ticket_search ALTER lexemes TYPE text USING lexemes::text"
            ),
            "ticket_search.lexemes can hold content, without row level security",
        ),
        ("ALTER TABLE relays ADD lexemes tsvector", "relays.lexemes can hold content, without row level security"),
        ("ALTER TABLE notes ADD at timestamp", "notes.at is timestamp without time zone"),
        ("ALTER TABLE notes ADD short varchar(9)", "notes.short is character varying(9)"),
        ("CREATE TYPE mood AS ENUM ('GOOD', 'BAD')", "mood is an enum"),
        (
            (
                "CREATE TRIGGER nosy BEFORE UPDATE ON notes FOR EACH ROW "
                "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            "notes has the trigger nosy",
        ),
        ("ALTER TABLE notes ADD n bigserial", "notes_n_seq counts by itself"),
    ],
)
async def test_a_table_that_breaks_a_rule_is_reported(superuser: Connection, bad: str, breach: str) -> None:
    await superuser.execute(GOOD)
    await superuser.execute(bad)

    assert breach in await find_breaches(superuser)
