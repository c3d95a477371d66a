"""Convert errors of the database into expected failures: invalid input or a temporary problem. Others are defects."""

from __future__ import annotations

import asyncpg
import structlog
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from app.core.database import pooler
from app.core.database.pool import NotMigrated
from app.core.errors import BadInput, TesseraError, Unavailable

DATABASE_ERRORS: tuple[type[Exception], ...] = (
    exc.DBAPIError,
    exc.TimeoutError,
    exc.DisconnectionError,
    exc.PendingRollbackError,  # the transaction of a lost connection
    AsyncAdapt_asyncpg_dbapi.Error,  # raised by the pool outside of a Connection of SQLAlchemy
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # no connection: refused, timed out, no such host, no such socket
)

# SQLSTATE classes and codes (appendix A of PostgreSQL's manual).
# Lost connections, lack of resources, interventions of an operator, rollbacks, locks, and idle transactions: the same
# statement may succeed in a moment.
TRANSIENT_STATES = ("08", "53", "57", "40", "55P03", "25P03")
INVALID_VALUE_STATES = ("22",)  # a text or a number that cannot be stored
UNDEFINED_TABLE = "42P01"
INVALID_VALUE = "22000"
INTERNAL_ERROR = "XX000"

log = structlog.get_logger("tessera.http")


def classify_database_error(error: Exception) -> TesseraError | None:
    """Return the failure to respond with; `None` for a defect of the service."""
    state = _find_sqlstate(error)
    if state == UNDEFINED_TABLE:
        log.error("database_not_migrated", error=f"{error}"[:300])
        return NotMigrated()
    if pooler.is_caused_by_pooler(state, error):
        log.error("pooler_not_configured", error=f"{error}"[:300], remedy=f"{pooler.PROBLEM}: {pooler.REMEDY}")
        return Unavailable()
    if state.startswith(INVALID_VALUE_STATES):
        return BadInput(
            "One of the values cannot be stored: a text has an invalid character, or a number is out of range."
        )
    if not state or state.startswith(TRANSIENT_STATES):
        log.warning("database_unavailable", sqlstate=state, error=f"{type(error).__name__}: {error}"[:300])
        return Unavailable()
    return None


def _find_sqlstate(error: Exception) -> str:
    """Return the SQLSTATE of an error; an empty string if the server was not reached."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    if isinstance(getattr(original, "__cause__", None), asyncpg.InternalClientError):
        return ""  # the connection was lost while the driver was working
    if state is None and isinstance(error, exc.DBAPIError) and not error.connection_invalidated:
        # Without a state and with an open connection: the driver refused a value.
        refused_value = isinstance(error, exc.DataError) or isinstance(original, ValueError)
        return INVALID_VALUE if refused_value else INTERNAL_ERROR
    if state is None and isinstance(original, asyncpg.InterfaceError) and isinstance(original, ValueError):
        return INVALID_VALUE  # refused by the driver itself
    return str(state or "")
