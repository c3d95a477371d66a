"""A generated database with organisations, users and tickets, which is kept and restored after each run.

It contains what the service would have written for tickets (numbers, replies, timers, the search index), except events
and mails.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from app import models as _models  # noqa: F401 - all mappers, before the first query
from app.access.callers import ProductCaller
from app.accounts.sign_up.service import sign_up_admin
from app.accounts.users.creation import NewUser
from app.core import embedded
from app.core.clock import real_now
from app.core.database import migrations
from app.core.database.pool import Database
from app.core.embedded.sockets import SERVICE
from app.core.ids import new_id
from app.core.outbox.numbering import Numbering
from app.core.security.password_hashing import hash_password
from app.organisations import queries
from app.organisations import service as organisations
from app.tickets.search.models import TicketSearch
from benchmarks import copies
from benchmarks.copies import Organisation

if TYPE_CHECKING:
    from app.core.database.pool import Driver
    from app.core.embedded import Address

ORGANISATIONS = 20
ADMINS = 5  # of each organisation
TICKETS_PER_CUSTOMER = 100  # also in the small database, so that pages have the same length
WEEKS = 53
FORMAT = 3  # version of the generated data; increase it to generate the databases again
MAINTENANCE_MEMORY = "512MB"  # enough to build the search index of a million tickets in few passes

_INSERT_REQUESTERS = """
    INSERT INTO requesters (org_id, id, email, created_at)
    SELECT $1::uuid, uuidv7(), 'customer' || n || '@' || $3::text, now() FROM generate_series(1, $2::int) AS n
"""
# Equivalent to `requesters/rules.py` for these addresses.
_INSERT_REQUESTER_WORDS = """
    INSERT INTO requester_words (org_id, word, requester_id)
    SELECT org_id, word, id FROM requesters, regexp_split_to_table(email, '[^a-z0-9]+') AS word WHERE org_id = $1
"""

# Created over the last two years; the oldest tenth is closed. Auto-close of responded tickets is due in two years, so
# that no timer becomes due between two runs.
_INSERT_TICKETS = f"""
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, requester_id, assignee_id,
                         created_at, updated_at, responded_at, closed_at, auto_close_at, version)
    SELECT $1::uuid, uuidv7(made_at - now()), n, 'Cannot export the report of week ' || n % {WEEKS},
           'Ticket ' || n || ': ' || repeat('The export stops at 40 % with an error. ', 1 + n % 10),
           status, (ARRAY['LOW', 'MEDIUM', 'MEDIUM', 'MEDIUM', 'HIGH', 'CRITICAL'])[1 + floor(random() * 6)::int],
           r.id, ($5::uuid[])[1 + n % cardinality($5::uuid[])], made_at, coalesce(responded_at, made_at), responded_at,
           CASE WHEN status = 'CLOSED' THEN least(made_at + interval '30 days', now()) END,
           CASE WHEN status = 'RESPONDED' THEN now() + interval '730 days' END, 1
    FROM (
        SELECT *, CASE WHEN status NOT IN ('OPEN', 'IN_PROGRESS') THEN least(made_at + interval '3 hours', now()) END
               AS responded_at
        FROM (
            SELECT n, now() - interval '730 days' * (1 - n::float / $2::int) AS made_at,
                   'customer' || 1 + floor(random() * $3::int)::int || '@' || $4::text AS email,
                   CASE WHEN n <= $2::int / 10 THEN 'CLOSED' ELSE (ARRAY[
                       'OPEN', 'OPEN', 'OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESPONDED', 'RESOLVED', 'CLOSED', 'CLOSED'
                   ])[1 + floor(random() * 9)::int] END AS status
            FROM generate_series(1, $2::int) AS n
        ) AS made
    ) AS responded JOIN requesters AS r ON r.org_id = $1::uuid AND r.email = responded.email
"""

_INSERT_REPLIES = """
    INSERT INTO comments (org_id, id, ticket_id, author_id, message, created_at)
    SELECT org_id, uuidv7(responded_at - now()), id, assignee_id, 'We fixed the export: please try again.', responded_at
    FROM tickets WHERE org_id = $1 AND responded_at IS NOT NULL
"""

_INSERT_TIMERS = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'AUTO_CLOSE', auto_close_at FROM tickets WHERE org_id = $1 AND auto_close_at IS NOT NULL
"""

# Equivalent to `tickets/search/rules.py` for short ASCII texts.
_INSERT_SEARCH_ROWS = """
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, replies)
    SELECT t.org_id, t.id, t.version,
           array_to_tsvector(ARRAY(
               SELECT prefix || word FROM regexp_split_to_table(own, '[^a-z0-9]+') AS word WHERE word <> ''
               UNION ALL VALUES (prefix || '#' || t.number), (prefix || '@' || replace(t.requester_id::text, '-', ''))
           )),
           array_to_tsvector(ARRAY(
               SELECT prefix || word FROM regexp_split_to_table(lower(r.message), '[^a-z0-9]+') AS word WHERE word <> ''
           ))
    FROM tickets AS t LEFT JOIN comments AS r ON r.org_id = $1 AND r.ticket_id = t.id,
         lower(t.title || ' ' || t.description) AS own, right($1::uuid::text, 8) AS prefix
    WHERE t.org_id = $1
"""

_PROTECTED = "SELECT oid::regclass::text FROM pg_class WHERE relrowsecurity"

# Parameters: the table.
_GIN_INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE indrelid = $1::text::regclass AND amname = 'gin'
"""

# Removes what was added after the generation. Parameter, where one is needed: the last generated ticket number.
_EMPTY = "TRUNCATE events, deliveries, mails, relay_failures, sessions"
_RESET = (
    "DELETE FROM timers WHERE kind <> 'AUTO_CLOSE' AND $1::int >= 0",
    *(
        f"""
        DELETE FROM {table} USING tickets
        WHERE {table}.org_id = tickets.org_id AND {table}.{column} = tickets.id AND tickets.number > $1::int
        """
        for table, column in (("timers", "subject_id"), ("ticket_search", "ticket_id"), ("comments", "ticket_id"))
    ),
    "DELETE FROM tickets WHERE number > $1::int",
    "UPDATE counters SET last_number = $1::int, last_event = 0",
    "UPDATE relays SET last_seq = 0 WHERE $1::int >= 0",
)
_VACUUM = """
    VACUUM (ANALYZE) tickets, comments, ticket_search, events, deliveries, mails, timers, counters, relays,
                     users, requesters, requester_words
"""


@dataclass(frozen=True)
class Dataset:
    """A running database and its content."""

    address: Address
    organisations: list[Organisation]
    tickets: int
    """Generated tickets per organisation."""
    pid: int
    """The server's process id."""

    @property
    def customers(self) -> int:
        """The number of customers per organisation."""
        return _customers(self.tickets)


@contextmanager
def running(folder: Path, tickets: int, organisations: int = ORGANISATIONS) -> Iterator[Dataset]:
    """Run a database with this many tickets in total. It is generated on first use and after a change of the schema."""
    place = folder / (str(tickets) if organisations == ORGANISATIONS else f"{tickets}-of-{organisations}")
    manifest, each = place / "benchmark.json", tickets // organisations
    required: dict[str, object] = {"format": FORMAT, "schema": _schema()}
    if not _is_current(manifest, required):
        if embedded.attach(place):
            raise SystemExit(f"Another process uses {place}: stop it.")
        shutil.rmtree(place, ignore_errors=True)
    with embedded.start(place, durable=False) as server:
        pid = int((place / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        if not manifest.exists():
            print(f"Generating {tickets:,} tickets in {place} (only once) …", flush=True)
            started = time.perf_counter()
            migrations.migrate(server.address.owner_url, SERVICE)
            made = asyncio.run(_generate(Dataset(server.address, [], each, pid), organisations))
            manifest.touch(mode=0o600)
            manifest.write_text(json.dumps({**required, "organisations": [asdict(one) for one in made]}))
            print(f"Generated in {time.perf_counter() - started:,.0f} seconds.", flush=True)
        stored = json.loads(manifest.read_text())["organisations"]
        yield Dataset(server.address, [Organisation(**one) for one in stored], each, pid)


def reset(data: Dataset) -> None:
    """Restore the generated content, and vacuum the tables."""
    asyncio.run(_reset(data))


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Driver]:
    """Connect as the owner of the tables, who is also subject to row level security."""
    connection = await asyncpg.connect(driver_url(address.owner_url))
    try:
        yield connection
    finally:
        await connection.close()


async def execute(connection: Driver, org_id: str, *statements: tuple[str, tuple[object, ...]]) -> None:
    """Run statements with their parameters in one transaction of an organisation."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL app.org_id = '{UUID(org_id)}'")
        for sql, parameters in statements:
            await connection.execute(sql, *parameters)


@asynccontextmanager
async def all_organisations(connection: Driver) -> AsyncIterator[None]:
    """Let the owner of the tables read and write the rows of all organisations in one statement."""
    tables = [table for (table,) in await connection.fetch(_PROTECTED)]
    try:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        yield
    finally:
        for table in tables:
            await connection.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def driver_url(url: str) -> str:
    """Return the URL in the form that asyncpg accepts."""
    return url.replace("postgresql+asyncpg://", "postgresql://")


def _schema() -> str:
    """Return a hash of the migrations."""
    scripts = sorted(migrations.SCRIPTS.glob("versions/*.py"))
    return hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()


def _customers(tickets: int) -> int:
    return max(1, tickets // TICKETS_PER_CUSTOMER)


def _is_current(manifest: Path, required: dict[str, object]) -> bool:
    return manifest.exists() and required.items() <= json.loads(manifest.read_text()).items()


async def _generate(empty: Dataset, count: int) -> list[Organisation]:
    """Generate organisations with tickets. Organisations above `ORGANISATIONS` are copies of the first one."""
    password_hash = await hash_password("not to be signed in with", os.urandom(16))
    database = Database(empty.address.service_url, before_commit=Numbering())
    made = [
        await _sign_up(database, f"company{n}.example", password_hash) for n in range(1, min(count, ORGANISATIONS) + 1)
    ]
    await database.dispose()
    async with connected(empty.address) as connection:
        await connection.execute("SELECT setseed(0.42)")
        for one in made:
            content = (one.id, empty.tickets, empty.customers, one.domain, one.admins)
            await execute(
                connection,
                one.id,
                (_INSERT_REQUESTERS, (one.id, empty.customers, one.domain)),
                (_INSERT_REQUESTER_WORDS, (one.id,)),
                (_INSERT_TICKETS, content),
                (_INSERT_REPLIES, (one.id,)),
                (_INSERT_TIMERS, (one.id,)),
            )
        # Without statistics the planner would assume few rows and choose a nested loop.
        await connection.execute("ANALYZE requesters, tickets, comments")
        async with _without_gin_indexes(connection, TicketSearch.__tablename__):
            for one in made:
                await execute(connection, one.id, (_INSERT_SEARCH_ROWS, (one.id,)))
            async with all_organisations(connection):
                made += await copies.make(connection, made[0], range(ORGANISATIONS + 1, count + 1))
    await _reset(replace(empty, organisations=made))
    return made


@asynccontextmanager
async def _without_gin_indexes(connection: Driver, table: str) -> AsyncIterator[None]:
    """Drop the table's full-text indexes, and build them afterwards: much faster than inserting row by row."""
    indexes = await connection.fetch(_GIN_INDEXES, table)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    yield
    await connection.execute(f"SET maintenance_work_mem = '{MAINTENANCE_MEMORY}'")
    for index in indexes:
        await connection.execute(index["definition"])


async def _sign_up(database: Database, domain: str, password_hash: str) -> Organisation:
    org_id, admins = new_id(), []
    async with database.session(org_id) as db:
        _, secret = await organisations.sign_up(db, org_id, f"The {domain} company", domain, sandbox=False)
        caller = ProductCaller(tenant=await queries.get_tenant(db, org_id), now=real_now())
        for n in range(1, ADMINS + 1):
            new = NewUser("Ada", f"Lovelace {n}", f"admin{n}@{domain}")
            admins.append(str((await sign_up_admin(db, caller, new, password_hash)).id))
    return Organisation(str(org_id), domain, secret, admins)


async def _reset(data: Dataset) -> None:
    async with connected(data.address) as connection, all_organisations(connection):
        await connection.execute(_EMPTY)
        for sql in _RESET:
            await connection.execute(sql, data.tickets)
        await connection.execute(_VACUUM)
