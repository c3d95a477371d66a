"""Tell a database that is away, or has the wrong schema, from a failure of one statement."""

from __future__ import annotations

import asyncpg
from sqlalchemy import exc

# SQLSTATE (appendix A of PostgreSQL's manual): lost connections, lack of resources, interventions of an operator, and
# tables or columns that do not exist, because the database is not migrated to this version.
OUTAGE_STATES = ("08", "53", "57P", "42P01", "42703")
_WITHOUT_CONNECTION = (OSError, TimeoutError, exc.TimeoutError, exc.DisconnectionError, exc.PendingRollbackError)


def is_outage(error: BaseException) -> bool:
    """Return whether the same would have happened to every statement, of any organisation."""
    if isinstance(error, _WITHOUT_CONNECTION):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    if state is not None:
        return str(state).startswith(OUTAGE_STATES)
    is_lost = isinstance(original, asyncpg.InterfaceError | asyncpg.InternalClientError)
    return is_lost and not isinstance(original, ValueError)  # that would be a value that the driver refused
