"""Record which rows each statement of a transaction locks, in order: read from the rows by another connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.util import await_only

if TYPE_CHECKING:
    from tests.databases import Superuser

ORGANISATION = "the organisation"  # an advisory lock
_WRITTEN = re.compile(
    r"(?:UPDATE|DELETE FROM)\s+(?:ONLY\s+)?(\w+)|INSERT INTO (\w+)(?=.*ON CONFLICT.*DO UPDATE)", re.DOTALL
)
_READ = re.compile(r"(?:FROM|JOIN)\s+(\w+)")
_LOCKS = re.compile(r"FOR (?:NO KEY )?(?:UPDATE|SHARE)")
_TABLES = """
    SELECT c.relname AS name, array_agg(a.attname ORDER BY array_position(i.indkey, a.attnum)) AS key
    FROM pg_class AS c JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisprimary
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'alembic_version'
    GROUP BY c.relname
"""


@dataclass(frozen=True)
class Lock:
    """A lock that other transactions may wait for."""

    table: str
    key: str


@dataclass
class Step:
    """A statement, and the locks that it took first. Those that only check foreign keys are left out."""

    sql: str
    locks: list[Lock]


@dataclass
class Transaction:
    """The steps of a transaction so far."""

    steps: list[Step] = field(default_factory=list)
    held: set[Lock] = field(default_factory=set)
    checked: set[Lock] = field(default_factory=set)  # by foreign keys


class LockRecorder:
    """Record the locks of all transactions on one database, while `recording`.

    A locked row has the transaction's id in its column `xmax`.
    """

    def __init__(self, superuser: Superuser, database: str) -> None:
        self._superuser, self._database = superuser, database
        self._query: Any = None
        self._reading = asyncio.Lock()
        self._open: dict[tuple[int, str], Transaction] = {}

    async def prepare(self) -> None:
        """Write the query that reads the locked rows of all tables."""
        tables = await self._superuser.fetch(_TABLES)
        rows = " ".join(
            f"UNION ALL SELECT '{table['name']}', concat_ws('/', {', '.join(name for name in table['key'])}) "
            f"FROM {table['name']} WHERE xmax::text IN (SELECT id FROM mine)"
            for table in tables
        )
        self._query = await self._superuser.prepare(f"""
            WITH held AS MATERIALIZED (SELECT * FROM pg_locks WHERE pid = $1 AND granted),
            mine AS MATERIALIZED (SELECT transactionid::text AS id FROM held WHERE locktype = 'transactionid')
            SELECT 'transaction' AS "table", max(virtualtransaction) AS key FROM held
            UNION ALL SELECT '{ORGANISATION}', objid::text FROM held WHERE locktype = 'advisory'
            {rows}
        """)

    def take(self) -> list[Transaction]:
        """Return the transactions since the last call."""
        taken = [transaction for transaction in self._open.values() if transaction.steps]
        self._open.clear()
        return taken

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Read the locks after each statement, both of SQLAlchemy and of the driver."""
        execute = asyncpg.Connection._execute  # type: ignore[attr-defined]

        async def execute_and_read(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
            result = await execute(connection, query, *arguments, **options)
            if connection is not self._superuser:
                await self._read(connection, query)
            return result

        def after_execute(connection: Any, _cursor: object, sql: str, *_: object) -> None:
            await_only(self._read(connection.connection.driver_connection, sql))

        event.listen(Engine, "after_cursor_execute", after_execute)
        monkeypatch.setattr(asyncpg.Connection, "_execute", execute_and_read)
        try:
            yield
        finally:
            event.remove(Engine, "after_cursor_execute", after_execute)
            monkeypatch.setattr(asyncpg.Connection, "_execute", execute)

    async def _read(self, connection: Any, sql: str) -> None:
        if connection._params.database != self._database or not connection.is_in_transaction():
            return
        async with self._reading:
            (_, transaction_id), *rows = await self._query.fetch(connection.get_server_pid())
        transaction = self._open.setdefault((connection.get_server_pid(), transaction_id), Transaction())
        written = {name for names in _WRITTEN.findall(sql) for name in names if name}
        if _LOCKS.search(sql):
            written |= set(_READ.findall(sql))
        new = {Lock(*row) for row in rows} - transaction.held
        strong = {lock for lock in new if lock.table in written or lock.table == ORGANISATION}
        transaction.held |= strong
        if strong:
            transaction.steps.append(Step(sql, sorted(strong, key=lambda lock: (lock.table, lock.key))))
