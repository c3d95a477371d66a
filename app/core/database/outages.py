"""Tell a database that is away, or has the wrong schema, from a failure of one statement."""

from __future__ import annotations

import asyncpg
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.database.migrations import find_head_revision
from app.core.database.revisions import is_supported

# SQLSTATE (appendix A of PostgreSQL's manual): lost connections, a full disk, too many connections, and
# interventions of an operator. Other lack of resources may be due to one statement.
OUTAGE_STATES = ("08", "53100", "53300", "57P")
UNDEFINED_TABLE, UNDEFINED_COLUMN = "42P01", "42703"
# Files that are missing, templates among them, are `OSError`, and so are timeouts: they say nothing about the database.
_WITHOUT_CONNECTION = (ConnectionError, exc.TimeoutError, exc.DisconnectionError)
_LOST_IN_TRANSACTION = "8s2b"  # SQLAlchemy's code; the other one of this error follows an error of one statement


class DatabaseUnreachable(ConnectionError):
    """No connection, for another reason than that it was refused: no such host or socket, or no answer in time."""


def is_outage(error: BaseException) -> bool:
    """Return whether the database was away, so that the same would have happened to every statement."""
    if isinstance(error, _WITHOUT_CONNECTION):
        return True
    if isinstance(error, exc.PendingRollbackError):
        return error.code == _LOST_IN_TRANSACTION
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    state = _find_state(error)
    if state is not None:
        return state.startswith(OUTAGE_STATES)
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    is_lost = isinstance(original, asyncpg.InterfaceError | asyncpg.InternalClientError)
    return is_lost and not isinstance(original, ValueError)  # that would be a value that the driver refused


def lacks_schema(error: BaseException) -> bool:
    """Return whether a table or column does not exist: the database is not migrated, or the statement is wrong."""
    return _find_state(error) in (UNDEFINED_TABLE, UNDEFINED_COLUMN)


async def is_unmigrated(db: AsyncSession) -> bool:
    """Return whether the schema does not support this version, which explains a missing table or column."""
    return not await is_supported(db, find_head_revision())


def _find_state(error: BaseException) -> str | None:
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    return None if state is None else str(state)
