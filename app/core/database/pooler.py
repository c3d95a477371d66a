"""Connections through a pooler such as PgBouncer, which lends a connection of PostgreSQL for one transaction at a time.

Nothing may be left behind on such a connection: the next transaction on it may be that of another process. Prepared
statements therefore have no names, and each execution sends its statement again, in the same round trip. Settings are
set in each transaction, because PgBouncer refuses them from a client that connects.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import Connection, text

PROBLEM = "a pooler such as PgBouncer is between the service and PostgreSQL"
REMEDY = "set DATABASE_POOLER=transaction, or let DATABASE_URL reach PostgreSQL directly"
_UNSUPPORTED_PARAMETER = "unsupported startup parameter"
# A statement that was prepared on another connection of the server, and one whose name is taken on this one.
_UNKNOWN_STATEMENT, _DUPLICATE_STATEMENT = "26000", "42P05"
_SERVER_PROCESS = text("SELECT pg_backend_pid()")


class UnnamedStatements(asyncpg.Connection):
    """A connection of the driver whose prepared statements have no names.

    What the driver knows about a statement, such as its types, stays cached. Only the server forgets it. If a migration
    changes the type of a column, statements that read it fail until the service is restarted. When the driver looks up
    an array type, it may leave `jit` off on the server's connection, as every transaction of the service sets it.
    """

    async def _get_statement(self, *arguments: Any, **options: Any) -> Any:
        inherited: Any = super()
        statement = await inherited._get_statement(*arguments, **(options | {"named": ""}))  # noqa: SLF001 - `test_driver_internals.py` guards it
        statement.mark_unprepared()
        return statement


def write_begin(settings: dict[str, str]) -> str:
    """Write the statements that begin a transaction with these settings, for one round trip."""
    return "; ".join(["BEGIN", *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())])


def is_behind_pooler(connection: Connection) -> bool:
    """Return whether a pooler is between this connection and the server.

    A pooler tells each client a process id of its own making, for the cancellation of statements.
    """
    driver: Any = connection.connection.driver_connection
    return bool(connection.scalar(_SERVER_PROCESS) != driver.get_server_pid())


def is_caused_by_pooler(sqlstate: str, error: Exception) -> bool:
    """Return whether an error of the database comes from a pooler that the settings do not mention."""
    return sqlstate in {_UNKNOWN_STATEMENT, _DUPLICATE_STATEMENT} or _UNSUPPORTED_PARAMETER in str(error)
