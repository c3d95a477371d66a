"""Filled tables, and tools to read PostgreSQL's query plans."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from sqlalchemy import event

from app.core.database.pool import Database
from tests.schema.catalog import Connection

if TYPE_CHECKING:
    from app.core.database.pool import Driver

ORGANISATIONS, TICKETS, USERS, OTHERS = 5, 5_000, 400, 3_000  # per organisation; `OTHERS` are organisations
ORG = UUID(int=1)
TICKET = UUID("00000001-0000-0000-0000-000000000007")
START = datetime(2026, 1, 1, tzinfo=UTC)
AFTER = (START + timedelta(minutes=2_500), 2_500)
REQUESTER_EMAIL = "customer7@growfin.test"
USER_ID = UUID("00000001-0000-0000-0000-000000000003")  # a requester of some tickets, and the assignee of others
REQUESTER_ID = UUID("00000001-0000-0000-0000-000000000007")  # the one of REQUESTER_EMAIL
PREFIX = ORG.hex[-8:]  # of the words of its tickets
WORDS = "ix_ticket_search_lexemes_replies"  # the only index that is searched by that prefix and not by `org_id`

# Ids are made of numbers: the first part is the organisation's, the last the row's.
FILL = """
    CREATE FUNCTION pg_temp.org(o int) RETURNS uuid RETURN lpad(to_hex(o), 32, '0')::uuid;
    CREATE FUNCTION pg_temp.id(o int, n int) RETURNS uuid
        RETURN (lpad(to_hex(o), 8, '0') || lpad(to_hex(n), 24, '0'))::uuid;

    INSERT INTO organisations (id, name, domain, sandbox, auto_close_days, timezone, created_at)
    SELECT pg_temp.org(o), 'Growfin', o || '.test', false, 30, 'UTC', '{start}' FROM generate_series(1, {all}) AS o;
    INSERT INTO counters SELECT pg_temp.org(o), {tickets}, {tickets} FROM generate_series(1, {all}) AS o;
    INSERT INTO relays SELECT pg_temp.org(o), {tickets} FROM generate_series(1, {all}) AS o;

    INSERT INTO users (org_id, id, first_name, last_name, email, role_kind, status, available, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'Ada', 'Lovelace', 'admin' || n || '@growfin.test', 'ADMIN', 'ACTIVE',
           n % 10 = 0, '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {users}) AS n;

    INSERT INTO roles (org_id, id, name, kind, permissions, created_at, updated_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'Role ' || n, 'ADMIN', '{{tickets:view}}', '{start}', '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {users}) AS n;

    INSERT INTO sessions (org_id, user_id, id, refresh_hash, remembered, device, address, created_at, last_used_at,
                          expires_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), pg_temp.id(o, n), '', false, 'a test', '192.0.2.7', '{start}', '{start}',
           '{start}'::timestamptz + interval '1 day'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {users}) AS n;

    -- 500 without an account, and two of each user.
    INSERT INTO requesters (org_id, id, email, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'customer' || n || '@growfin.test', '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(0, 499) AS n;
    INSERT INTO requesters (org_id, id, email, owns_email, user_id, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, 1000 * place + n), 'admin' || n || '@growfin.test', place = 1,
           pg_temp.id(o, n), '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {users}) AS n, generate_series(1, 2) AS place;
    INSERT INTO requester_words (org_id, word, requester_id)
    SELECT org_id, word, id
    FROM requesters, unnest(ARRAY[split_part(email, '@', 1), 'growfin', 'test']) AS word;

    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id, assignee_id,
                         created_at, updated_at, closed_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), n, 'Cannot export ' || n, repeat('It stops. ', 40),
           (ARRAY['OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESOLVED', 'CLOSED', 'CLOSED', 'CLOSED'])[1 + n % 7],
           (ARRAY['LOW', 'MEDIUM', 'MEDIUM', 'HIGH', 'CRITICAL'])[1 + n % 5],
           pg_temp.id(o, CASE WHEN n % 3 = 0 THEN 1000 * (1 + n / 3 % 2) + 1 + n % {users} ELSE n % 500 END),
           CASE WHEN n % 50 > 0 THEN pg_temp.id(o, 1 + n % {users}) END,
           '{start}'::timestamptz + n * interval '1 minute', '{start}'::timestamptz + n * interval '2 minutes',
           CASE WHEN n % 7 > 3 THEN '{start}'::timestamptz + n * interval '1 minute' END
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    -- One ticket in 1,000 mentions an invoice, and one in 100 a refund.
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, replies)
    SELECT org_id, id, 1,
           array_to_tsvector(ARRAY(
               SELECT right(org_id::text, 8) || word
               FROM unnest(ARRAY['#' || number, 'cannot', 'export', number::text,
                                 '@' || replace(requester_id::text, '-', ''), 'it', 'stops',
                                 CASE WHEN number % 1000 = 7 THEN 'invoice' END,
                                 CASE WHEN number % 100 = 7 THEN 'refund' END]) AS word
               WHERE word IS NOT NULL
           )),
           array_to_tsvector(ARRAY(
               SELECT right(org_id::text, 8) || word FROM unnest(ARRAY['try', 'again']) AS word WHERE number <= 1000
           ))
    FROM tickets;

    INSERT INTO comments (org_id, id, ticket_id, author_id, message, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), pg_temp.id(o, 1 + n % 1000), pg_temp.id(o, 1 + n % {users}),
           repeat('Try again. ', 20), '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO events (org_id, seq, id, type, version, subject_id, actor_type, data, created_at)
    SELECT pg_temp.org(o), n, pg_temp.id(o, n), 'ticket.created', 1, pg_temp.id(o, n), 'SYSTEM', '{{}}', '{start}'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), (ARRAY['AUTO_CLOSE', 'DELIVER'])[1 + n % 2],
           '{start}'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;

    INSERT INTO deliveries (org_id, id, channel, lane, status, created_at)
    SELECT pg_temp.org(o), pg_temp.id(o, n), 'EMAIL', 'growfin.test',
           (ARRAY['SENT', 'SENT', 'SENT', 'QUEUED', 'FAILED'])[1 + n % 5],
           '{start}'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, {organisations}) AS o, generate_series(1, {tickets}) AS n;
    INSERT INTO mails (org_id, id, recipient, subject, body_text, ticket_id, created_at)
    SELECT org_id, id, 'mia@growfin.test', 'Re', repeat('Try again. ', 20),
           pg_temp.id(right(org_id::text, 4)::int, 1 + (row_number() OVER ())::int % 1000), created_at
    FROM deliveries;
"""


# --- reading plans ---------------------------------------------------------------------------------------------------


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case list() if not value or None in value or any(isinstance(one, datetime) for one in value):
            return "'{" + ", ".join("NULL" if one is None else f'"{one}"' for one in value) + "}'"
        case list():
            kinds = {UUID: "uuid", int: "bigint", str: "text", datetime: "timestamptz"}
            kind = next(name for known, name in kinds.items() if isinstance(value[0], known))
            return f"ARRAY[{', '.join(_literal(one) for one in value)}]::{kind}[]"
        case UUID() | datetime():
            return f"'{value}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


async def explain(
    connection: Connection, sql: str, parameters: Sequence[object], *, generic: bool = False, run: bool = False
) -> dict[str, Any]:
    """Return the plan of a prepared statement for these parameters.

    Args:
        generic: return the plan for any parameters instead.
        run: execute the plan, and include the numbers of rows.
    """
    mode = "force_generic_plan" if generic else "force_custom_plan"
    await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE explained AS {sql}")
    given = f"({', '.join(_literal(value) for value in parameters)})" if parameters else ""
    text = await connection.fetchval(f"EXPLAIN ({'ANALYZE, ' if run else ''}FORMAT JSON) EXECUTE explained{given}")
    await connection.execute("DEALLOCATE explained")
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def find_problems(plan: dict[str, Any]) -> list[str]:
    """Describe the nodes that read rows of other organisations, or the words of all tickets of the organisation."""
    found = []
    for node in nodes(plan):
        match node["Node Type"]:
            case "Seq Scan":
                found.append(f"reads all of {node['Relation Name']}")
            case "Bitmap Heap Scan" if node["Relation Name"] == "ticket_search" and "(org_id = " not in str(node):
                found.append("ticket_search is not read by org_id")  # another organisation may have the same prefix
            case "Bitmap Index Scan" if node["Index Name"] == WORDS:
                found += _find_word_problems(node["Index Cond"])
            case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
                key = "(id = " if node["Index Name"] == "pk_organisations" else "(org_id = "
                if key not in node.get("Index Cond", ""):
                    found.append(f"{node['Index Name']} is not searched by org_id")
                if node["Index Name"] == "pk_ticket_search" and "(ticket_id = " not in node.get("Index Cond", ""):
                    found.append("pk_ticket_search is read for all tickets")
    return found


def _find_word_problems(condition: str) -> list[str]:
    if "'" not in condition:  # the condition's value is known only at execution
        return []
    return [] if has_prefix(condition) else [f"{WORDS} is searched without a prefix"]


def has_prefix(query: str) -> bool:
    """Return whether each word of a `tsquery`, alone or within a plan, starts with the organisation's prefix."""
    wanted = re.findall(r"'+([^']+)'+", query)
    return bool(wanted) and all(word.startswith(PREFIX) for word in wanted)


def used_indexes(plan: dict[str, Any]) -> set[str]:
    """Return the indexes that a plan uses."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


async def find_statement_problems(connection: Connection, sql: str, parameters: Sequence[object]) -> list[str]:
    """Describe the problems of the custom and the generic plan of a statement."""
    found = []
    for generic in (False, True):
        plan = await explain(connection, sql, parameters, generic=generic)
        assert used_indexes(plan), plan
        found += [f"{'generic' if generic else 'custom'} plan: {one}" for one in find_problems(plan)]
    return found


class Recorder:
    """The driver, with a record of the statements that it sends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sent: list[tuple[str, Sequence[object]]] = []

    def __getattr__(self, name: str) -> Any:
        run = getattr(self._connection, name)

        async def note_and_run(sql: str, *parameters: object) -> object:
            self.sent.append((sql, parameters))
            return await run(sql, *parameters)

        return note_and_run

    @property
    def driver(self) -> Driver:
        return cast("Driver", self)


@contextmanager
def recording_statements(database: Database) -> Iterator[list[tuple[str, Sequence[object]]]]:
    """Record the statements that SQLAlchemy sends during the context."""
    sent: list[tuple[str, Sequence[object]]] = []

    def note(_connection: object, _cursor: object, sql: str, parameters: Sequence[object], *_: object) -> None:
        sent.append((sql, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)
