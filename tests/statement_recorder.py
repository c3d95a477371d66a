"""Check each statement that the product sends during the tests against the rules for Citus."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent
from sqlalchemy import Pool, event
from sqlalchemy.engine import Connection, Engine

from tests.schema.citus_rules import find_violations, is_query

if TYPE_CHECKING:
    from asyncpg.connection import LoggedQuery

ROOT = Path(__file__).parents[1]
_PRODUCT, _TESTS = f"{ROOT / 'app'}/", f"{ROOT / 'tests'}/"
_checked: set[str] = set()
_violations: list[str] = []


def start_recording() -> None:
    """Check the statements of all connections that SQLAlchemy opens, those of the driver included."""
    event.listen(Engine, "before_cursor_execute", _check_statement)
    event.listen(Pool, "connect", _log_queries)


def take_violations() -> list[str]:
    """Return the violations since the last call."""
    taken = _violations.copy()
    _violations.clear()
    return taken


def _check(sql: str) -> None:
    if sql in _checked or not is_query(sql) or not _is_sent_by_product():
        return
    _checked.add(sql)
    _violations.extend(f"{violation}: {sql}" for violation in find_violations(sql))


def _check_statement(_connection: Connection, _cursor: object, sql: str, *_: object) -> None:
    _check(sql)


def _log_queries(connection: Any, _record: object) -> None:
    connection.driver_connection.add_query_logger(_check_logged)


def _check_logged(query: LoggedQuery) -> None:
    _check(query.query)


def _is_sent_by_product() -> bool:
    """Return whether the nearest caller of this repository is the product, and not a test."""
    for frame in _iterate_frames():
        path = frame.f_code.co_filename
        if path.startswith(_PRODUCT):
            return True
        if path.startswith(_TESTS) and path != __file__:
            return False
    return False


def _iterate_frames() -> Iterator[FrameType]:
    """Yield the frames of the callers, nearest first. SQLAlchemy runs in a greenlet, whose parent is its caller."""
    greenlet, frame = getcurrent(), inspect.currentframe()
    while greenlet is not None:
        while frame is not None:
            yield frame
            frame = frame.f_back
        greenlet = greenlet.parent
        frame = greenlet.gr_frame if greenlet is not None else None
