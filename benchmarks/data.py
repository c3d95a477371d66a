"""A database with organisations, users and tickets: generated once, kept, and put back as it was after each run.

What the service itself would have written for the generated tickets is there (numbers, answers, countdowns, the words
they are found by), except their events and mails.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from app import models as _models  # noqa: F401 - all mappers, before the first query
from app.access.callers import ProductCaller
from app.accounts.users import creation as identity
from app.core import embedded
from app.core.clock import real_now
from app.core.database import migrations
from app.core.database.pool import Database
from app.core.embedded.sockets import SERVICE
from app.core.ids import new_id
from app.core.outbox.numbering import Numbering
from app.core.security.passwords import hash_password
from app.organisations import queries
from app.organisations import service as organisations
from app.tickets.search.models import TicketSearch

if TYPE_CHECKING:
    from app.core.database.pool import Driver
    from app.core.embedded import Address

ORGANISATIONS = 20
ADMINS = 5  # of each organisation
TICKETS_PER_CUSTOMER = 100  # in a small organisation too, so that pages of the same length compare
WEEKS = 53
FORMAT = 2  # of what is made here: a higher one makes it anew
MAINTENANCE_MEMORY = "512MB"  # in which the index of a million tickets' words is built in few passes

# From two years ago to now; the oldest tenth is closed. What was answered closes by itself in two years, so that
# nothing comes due between two runs.
_TICKETS = f"""
    INSERT INTO tickets (org_id, id, number, title, description, status, priority, added_by, admin_id, created_at,
                         updated_at, responded_at, closed_at, auto_close_at, version)
    SELECT $1::uuid, uuidv7(made_at - now()), n, 'Cannot export the report of week ' || n % {WEEKS},
           'Ticket ' || n || ': ' || repeat('The export stops at 40 % with an error. ', 1 + n % 10),
           status, (ARRAY['LOW', 'MEDIUM', 'MEDIUM', 'MEDIUM', 'HIGH', 'CRITICAL'])[1 + floor(random() * 6)::int],
           'customer' || 1 + floor(random() * $3::int)::int || '@' || $4::text,
           ($5::uuid[])[1 + n % cardinality($5::uuid[])], made_at, coalesce(answered_at, made_at), answered_at,
           CASE WHEN status = 'CLOSED' THEN least(made_at + interval '30 days', now()) END,
           CASE WHEN status = 'RESPONDED' THEN now() + interval '730 days' END, 1
    FROM (
        SELECT *, CASE WHEN status NOT IN ('OPEN', 'IN_PROGRESS') THEN least(made_at + interval '3 hours', now()) END
               AS answered_at
        FROM (
            SELECT n, now() - interval '730 days' * (1 - n::float / $2::int) AS made_at,
                   CASE WHEN n <= $2::int / 10 THEN 'CLOSED' ELSE (ARRAY[
                       'OPEN', 'OPEN', 'OPEN', 'IN_PROGRESS', 'RESPONDED', 'RESPONDED', 'RESOLVED', 'CLOSED', 'CLOSED'
                   ])[1 + floor(random() * 9)::int] END AS status
            FROM generate_series(1, $2::int) AS n
        ) AS made
    ) AS answered
"""

_ANSWERS = """
    INSERT INTO ticket_responses (org_id, id, ticket_id, author_id, message, created_at)
    SELECT org_id, uuidv7(responded_at - now()), id, admin_id, 'We mended the export: please try again.', responded_at
    FROM tickets WHERE org_id = $1 AND responded_at IS NOT NULL
"""

_COUNTDOWNS = """
    INSERT INTO timers (org_id, subject_id, kind, due_at)
    SELECT org_id, id, 'AUTO_CLOSE', auto_close_at FROM tickets WHERE org_id = $1 AND auto_close_at IS NOT NULL
"""

# As `tickets/search/rules.py` takes the words, of texts that are short and in ASCII.
_SEARCHED = """
    INSERT INTO ticket_search (org_id, ticket_id, version, lexemes, answers)
    SELECT t.org_id, t.id, t.version,
           array_to_tsvector(prefix || '#' || t.number || ARRAY(
               SELECT prefix || word FROM regexp_split_to_table(own, '[^a-z0-9]+') AS word WHERE word <> ''
           )),
           array_to_tsvector(ARRAY(
               SELECT prefix || word FROM regexp_split_to_table(lower(r.message), '[^a-z0-9]+') AS word WHERE word <> ''
           ))
    FROM tickets AS t LEFT JOIN ticket_responses AS r ON r.org_id = $1 AND r.ticket_id = t.id,
         lower(t.title || ' ' || t.added_by || ' ' || t.description) AS own, right($1::uuid::text, 8) AS prefix
    WHERE t.org_id = $1
"""

# Parameters: the table.
_WORD_INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
    WHERE indrelid = $1::text::regclass AND amname = 'gin'
"""

# Parameters: the organisation, and the last number that was generated.
_RESET = (
    "DELETE FROM timers WHERE org_id = $1 AND kind <> 'AUTO_CLOSE' AND $2::int >= 0",
    "DELETE FROM deliveries WHERE org_id = $1 AND $2::int >= 0",
    "DELETE FROM relay_failures WHERE org_id = $1 AND $2::int >= 0",
    "DELETE FROM events WHERE org_id = $1 AND $2::int >= 0",
    """
    DELETE FROM ticket_search WHERE org_id = $1
    AND ticket_id IN (SELECT id FROM tickets WHERE org_id = $1 AND number > $2::int)
    """,
    "DELETE FROM tickets WHERE org_id = $1 AND number > $2::int",
    "UPDATE counters SET last_number = $2::int, last_event = 0 WHERE org_id = $1",
    "UPDATE relays SET last_seq = 0 WHERE org_id = $1 AND $2::int >= 0",
)
_VACUUM = """
    VACUUM (ANALYZE) tickets, ticket_responses, ticket_search, events, deliveries, mails, timers, counters, relays,
                     users
"""


@dataclass(frozen=True)
class Organisation:
    """A generated tenant. `admins` are the ids of active, available users."""

    id: str
    domain: str
    secret: str
    admins: list[str]

    def customer(self, number: int) -> str:
        """The e-mail of a customer; the numbers begin with 1."""
        return f"customer{number}@{self.domain}"


@dataclass(frozen=True)
class Dataset:
    """A running database and what is in it."""

    address: Address
    organisations: list[Organisation]
    tickets: int
    """Of each organisation, generated."""

    @property
    def customers(self) -> int:
        """How many customers each organisation has."""
        return _customers(self.tickets)


@contextmanager
def running(folder: Path, tickets: int) -> Iterator[Dataset]:
    """The database with so many tickets over all organisations, made on first use and after a change of the schema."""
    place, manifest = folder / str(tickets), folder / str(tickets) / "benchmark.json"
    wanted: dict[str, object] = {"format": FORMAT, "schema": _schema()}
    if not _is_made_as(manifest, wanted):
        if embedded.attach(place):
            raise SystemExit(f"Another process uses {place}: stop it.")
        shutil.rmtree(place, ignore_errors=True)
    with embedded.start(place, durable=False) as server:
        if not manifest.exists():
            print(f"Generating {tickets:,} tickets in {place}, once …", flush=True)
            begun = time.perf_counter()
            migrations.migrate(server.address.owner_url, SERVICE)
            made = asyncio.run(_generate(server.address, tickets // ORGANISATIONS))
            manifest.touch(mode=0o600)
            manifest.write_text(json.dumps({**wanted, "organisations": [asdict(one) for one in made]}))
            print(f"Generated in {time.perf_counter() - begun:,.0f} seconds.", flush=True)
        kept = json.loads(manifest.read_text())["organisations"]
        yield Dataset(server.address, [Organisation(**one) for one in kept], tickets // ORGANISATIONS)


def reset(data: Dataset) -> None:
    """Put everything back as it was generated, and tidy up as the server would in its own time."""
    asyncio.run(_reset(data))


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[Driver]:
    """A connection as the owner of the tables, who is bound by row level security as well."""
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


def driver_url(url: str) -> str:
    """The address as the driver alone takes it."""
    return url.replace("postgresql+asyncpg://", "postgresql://")


def _schema() -> str:
    """Which schema it is: another one as soon as any migration is."""
    scripts = sorted(migrations.SCRIPTS.glob("versions/*.py"))
    return hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()


def _customers(tickets: int) -> int:
    return max(1, tickets // TICKETS_PER_CUSTOMER)


def _is_made_as(manifest: Path, wanted: dict[str, object]) -> bool:
    return manifest.exists() and wanted.items() <= json.loads(manifest.read_text()).items()


async def _generate(address: Address, tickets: int) -> list[Organisation]:
    password_hash = await hash_password("not to be signed in with", os.urandom(16))
    database = Database(address.service_url, before_commit=Numbering())
    made = [await _sign_up(database, f"company{n}.example", password_hash) for n in range(1, ORGANISATIONS + 1)]
    await database.dispose()
    async with connected(address) as connection:
        await connection.execute("SELECT setseed(0.42)")
        for one in made:
            content = (one.id, tickets, _customers(tickets), one.domain, one.admins)
            await execute(connection, one.id, (_TICKETS, content), (_ANSWERS, (one.id,)), (_COUNTDOWNS, (one.id,)))
        # Otherwise tickets and answers are taken for a few, and each of these is compared with each of those.
        await connection.execute("ANALYZE tickets, ticket_responses")
        async with _built_afterwards(connection, TicketSearch.__tablename__):
            for one in made:
                await execute(connection, one.id, (_SEARCHED, (one.id,)))
    await _reset(Dataset(address, made, tickets))
    return made


@asynccontextmanager
async def _built_afterwards(connection: Driver, table: str) -> AsyncIterator[None]:
    """Rows are added to the table without its full-text indexes, which are then built at once: that is much faster."""
    indexes = await connection.fetch(_WORD_INDEXES, table)
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
        caller = ProductCaller(tenant=await queries.tenant(db, org_id), now=real_now())
        for n in range(1, ADMINS + 1):
            new = identity.NewUser("Ada", f"Lovelace {n}", f"admin{n}@{domain}")
            admins.append(str((await identity.sign_up_admin(db, caller, new, password_hash)).id))
    return Organisation(str(org_id), domain, secret, admins)


async def _reset(data: Dataset) -> None:
    async with connected(data.address) as connection:
        for one in data.organisations:
            await execute(connection, one.id, *((sql, (one.id, data.tickets)) for sql in _RESET))
        await connection.execute(_VACUUM)
