"""Check each statement that the service sends during the tests against the rules for Citus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Pool, event
from sqlalchemy.engine import Connection, Engine

from tests.schema.citus_rules import find_violations, is_query

if TYPE_CHECKING:
    from asyncpg.connection import LoggedQuery

_checked: set[str] = set()
violations: dict[str, list[str]] = {}


def check(sql: str) -> None:
    if sql in _checked or not is_query(sql):
        return
    _checked.add(sql)
    if found := find_violations(sql):
        violations[sql] = found


def start_recording() -> None:
    event.listen(Engine, "before_cursor_execute", _check_statement)
    event.listen(Pool, "connect", _log_queries)


def _check_statement(_connection: Connection, _cursor: object, sql: str, *_: object) -> None:
    check(sql)


def _log_queries(connection: Any, _record: object) -> None:
    """Check the statements that go to the driver directly."""
    connection.driver_connection.add_query_logger(_check_logged)


async def _check_logged(query: LoggedQuery) -> None:
    check(query.query)
