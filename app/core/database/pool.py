"""Connections and transactions.

A transaction opens with `BEGIN; SET LOCAL app.org_id = '…'`, which the driver sends as one simple query. Row level
security then shows the rows of that organisation only. SQLAlchemy would send its own `BEGIN` later, in a second round
trip. The engine is therefore told not to manage transactions (`AUTOCOMMIT`), and listeners of its `begin`, `commit` and
`rollback` events manage them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import orjson
from sqlalchemy import Connection, Dialect, event, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState
from sqlalchemy.util import greenlet_spawn

from app.core.database import pooler
from app.core.database.outages import DatabaseUnreachable
from app.core.errors import Unavailable

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.engine.interfaces import DBAPIConnection

    Driver = asyncpg.Connection[asyncpg.Record]

# Called last in a session, before it commits: writes what was collected in `Session.info` during the transaction.
BeforeCommit = Callable[[AsyncSession, UUID | None], Awaitable[None]]

ORG_ID = "org_id"
BEFORE_COMMIT = "before_commit"
WAKES_WORKER = "wakes_worker"
CONNECT_TIMEOUT = 5.0  # seconds
LOCK_TIMEOUT = 5.0  # seconds
DRIVER_TIMEOUT_MARGIN = 5.0  # seconds
IDLE_IN_TRANSACTION_TIMEOUT = 15.0  # seconds


class CommitFailed(Exception):
    """The server responded to COMMIT with a rollback, because an earlier statement had failed."""


class NotMigrated(Unavailable):
    """The database is not prepared for this version of the service."""

    code = "not_migrated"
    title = "The database is not migrated to this version. Run `tessera migrate`, or a newer version of Tessera."


class Database:
    """The pool of one process, and the transactions on it.

    Args:
        url: `postgresql+asyncpg://…`, with a role that is neither superuser nor BYPASSRLS.
        pool_size: the maximum number of connections.
        pool_timeout: how long a request waits for a connection before it gets a 503, in seconds.
        statement_timeout: how long the server works on a statement before it gives up, in seconds.
        transaction_pooler: whether a pooler such as PgBouncer lends connections for one transaction at a time.
        before_commit: called last in every session, before it commits.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout: float = 5.0,
        statement_timeout: float = 10.0,
        transaction_pooler: bool = False,
        before_commit: BeforeCommit | None = None,
    ) -> None:
        self._is_pooled = transaction_pooler
        self.before_commit = before_commit
        self.after_commit: list[Callable[[], None]] = []
        session_settings = {"application_name": "tessera", "timezone": "UTC"}  # a pooler hands these on
        statement_settings = {
            "jit": "off",
            "statement_timeout": _to_milliseconds(statement_timeout),
            "lock_timeout": _to_milliseconds(LOCK_TIMEOUT),
            "idle_in_transaction_session_timeout": _to_milliseconds(IDLE_IN_TRANSACTION_TIMEOUT),
        }
        self._begin_statements = pooler.write_begin(statement_settings if transaction_pooler else {})
        self.engine = create_async_engine(
            url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,  # errors are logged, and parameters are texts of tenants
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=pool_timeout,
            pool_use_lifo=True,
            pool_reset_on_return=None,  # `_end_transaction` rolls back, and only if there is a transaction
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
            connect_args={
                "timeout": CONNECT_TIMEOUT,
                # For a server that cannot report its own timeout: it hangs, or the network is gone.
                "command_timeout": statement_timeout + DRIVER_TIMEOUT_MARGIN,
                "server_settings": session_settings | ({} if transaction_pooler else statement_settings),
                **({"connection_class": pooler.UnnamedStatements} if transaction_pooler else {}),
            },
        )
        sync = self.engine.sync_engine
        event.listen(sync, "do_connect", _connect)
        event.listen(sync, "handle_error", _report_silence)
        event.listen(sync, "begin", self._begin)
        event.listen(sync, "commit", _commit)
        event.listen(sync, "rollback", _rollback)
        event.listen(sync.pool, "checkout", _reject_closed)
        event.listen(sync.pool, "reset", _end_transaction)

    @asynccontextmanager
    async def session(self, org_id: UUID | None) -> AsyncIterator[AsyncSession]:
        """Open a transaction in an organisation. With `None` it sees only tables without row level security.

        At the end `before_commit` runs, and the transaction commits. An exception rolls it back.
        """
        info = {ORG_ID: org_id, BEFORE_COMMIT: self.before_commit}
        async with AsyncSession(self.engine, expire_on_commit=False, info=info) as db:
            await db.connection(execution_options={ORG_ID: org_id})
            yield db
            await run_before_commit(db)
            await db.commit()
            if db.info.get(WAKES_WORKER):
                self.run_after_commit()

    def driver(self, org_id: UUID | None, *, wakes_worker: bool = False) -> AbstractAsyncContextManager[Driver]:
        """Open a transaction on the driver's connection, without SQLAlchemy, for the most frequent statements.

        They take a third of the CPU time that they take with SQLAlchemy.

        Args:
            wakes_worker: whether the transaction writes events or timers. The worker of this process then looks for
                work after the commit.
        """
        return _DriverTransaction(self, org_id, wakes_worker)

    async def fetch_row(self, sql: str, *parameters: object) -> asyncpg.Record | None:
        """Read one row of tables without row level security, in one round trip unless there is a pooler."""
        if self._is_pooled:  # only a transaction has timeouts
            async with self.driver(None) as driver:
                return await driver.fetchrow(sql, *parameters)
        async with self._check_out() as driver:
            return await driver.fetchrow(sql, *parameters)

    @asynccontextmanager
    async def _check_out(self) -> AsyncIterator[Driver]:
        """Take a connection from the pool, and return it at the end."""
        connection = await self.engine.raw_connection()
        try:
            yield cast("Driver", connection.driver_connection)
        except BaseException:
            # Rolls back and returns the connection to the pool, also when the request was cancelled.
            await asyncio.shield(greenlet_spawn(connection.close))
            raise
        connection.close()  # nothing to roll back, so nothing to await

    @staticmethod
    async def get_driver(db: AsyncSession) -> Driver:
        """Flush the session and return its driver connection, in the same transaction.

        `before_commit` runs first, so that statements on the driver see everything that the session will commit.
        """
        await run_before_commit(db)
        await db.flush()
        connection = await (await db.connection()).get_raw_connection()
        return cast("Driver", connection.driver_connection)

    def connections_in_use(self) -> int:
        """Count the connections of the pool that are in use."""
        return cast("Any", self.engine.pool).checkedout()  # type: ignore[no-any-return]

    def run_after_commit(self) -> None:
        """Call the `after_commit` listeners, such as the worker of this process, which looks for new work."""
        for notify in self.after_commit:
            notify()

    async def dispose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    def _begin(self, connection: Connection) -> None:
        dbapi = connection.connection.dbapi_connection
        assert dbapi is not None
        org_id = connection.get_execution_options().get(ORG_ID)
        cast("Any", dbapi).run_async(lambda driver: self.begin_on(driver, org_id))

    async def begin_on(self, driver: Driver, org_id: UUID | None) -> None:
        """Begin a transaction in an organisation on a connection of the pool."""
        try:
            await driver.execute(self._write_begin(org_id))
        except BaseException:
            # After a cancellation the server may have begun a transaction unknown to the driver. The next request must
            # not run in it.
            driver.terminate()
            raise

    def _write_begin(self, org_id: UUID | None) -> str:
        if org_id is None:
            return self._begin_statements
        # Only the text of a UUID gets into the statement. It cannot close the quotes.
        return f"{self._begin_statements}; SET LOCAL app.org_id = '{UUID(str(org_id))}'"


class _DriverTransaction(AbstractAsyncContextManager["Driver"]):
    """A transaction on a connection of the driver, which commits at the end of the block.

    A class, since two nested generators would take a tenth of the time of a small request.
    """

    __slots__ = ("_connection", "_database", "_org_id", "_wakes_worker")

    def __init__(self, database: Database, org_id: UUID | None, wakes_worker: bool) -> None:
        self._database, self._org_id, self._wakes_worker = database, org_id, wakes_worker

    async def __aenter__(self) -> Driver:
        self._connection = await self._database.engine.raw_connection()
        driver = cast("Driver", self._connection.driver_connection)
        try:
            await self._database.begin_on(driver, self._org_id)
        except BaseException:
            await self._roll_back()
            raise
        return driver

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is not None:
            await self._roll_back()
            return
        try:
            _ensure_committed(await cast("Driver", self._connection.driver_connection).execute("COMMIT"))
        except BaseException:
            await self._roll_back()
            raise
        self._connection.close()  # nothing to roll back, so nothing to await
        if self._wakes_worker:
            self._database.run_after_commit()

    async def _roll_back(self) -> None:
        """Roll back and return the connection to the pool, also when the request was cancelled."""
        await asyncio.shield(greenlet_spawn(self._connection.close))


def wake_worker_after_commit(db: AsyncSession) -> None:
    """Make this process's worker look for work as soon as the transaction has committed, not at its next interval."""
    db.info[WAKES_WORKER] = True


async def run_before_commit(db: AsyncSession) -> None:
    """Run `before_commit` now instead of at the commit. It writes what the session has collected so far."""
    before_commit: BeforeCommit | None = db.info.get(BEFORE_COMMIT)
    if before_commit is not None:
        await before_commit(db, db.info.get(ORG_ID))


def _to_milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _ensure_committed(status: str) -> None:
    if status != "COMMIT":
        raise CommitFailed(f"The server responded to COMMIT with {status}")


def _execute(connection: DBAPIConnection, statement: str) -> str:
    return cast("str", cast("Any", connection).run_async(lambda driver: driver.execute(statement)))


def _commit(connection: Connection) -> None:
    dbapi = connection.connection.dbapi_connection
    assert dbapi is not None
    _ensure_committed(_execute(dbapi, "COMMIT"))


def _rollback(connection: Connection) -> None:
    if connection.invalidated:  # already closed, after a cancelled statement or by the server
        return
    dbapi = connection.connection.dbapi_connection
    if dbapi is not None and _is_in_transaction(dbapi):
        _execute(dbapi, "ROLLBACK")


def _is_in_transaction(dbapi: DBAPIConnection) -> bool:
    driver = cast("Any", dbapi).driver_connection
    return bool(not driver.is_closed() and driver.is_in_transaction())


def _connect(dialect: Dialect, _record: ConnectionPoolEntry, cargs: list[Any], cparams: dict[str, Any]) -> object:
    try:
        return dialect.connect(*cargs, **cparams)
    except ConnectionError:
        raise
    except OSError as error:  # includes timeouts, and must be told from those of the code that uses the connection
        raise DatabaseUnreachable(f"{error}" or type(error).__name__) from error


def _report_silence(context: ExceptionContext) -> DatabaseUnreachable | None:
    # The server did not even report its own timeout.
    is_silent = isinstance(context.original_exception, TimeoutError)
    return DatabaseUnreachable("no answer in time") if is_silent else None


def _reject_closed(dbapi: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: object) -> None:
    # The driver knows when the server has closed the connection, so finding a stale one costs no round trip.
    if cast("Any", dbapi).driver_connection.is_closed():
        raise exc.DisconnectionError("the server closed this connection")


def _end_transaction(dbapi: DBAPIConnection, _record: ConnectionPoolEntry, state: PoolResetState) -> None:
    if state.asyncio_safe and _is_in_transaction(dbapi):
        _execute(dbapi, "ROLLBACK")
