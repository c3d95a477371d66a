"""Deprecated operations: declared once, with a date, and announced from there in headers and in OpenAPI."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from functools import cache
from typing import Any

SUNSET_AFTER = timedelta(days=365)  # the least time for which a deprecated operation stays
DEPRECATED_SINCE = "x-deprecated-since"  # the date, as an extension of the operation in OpenAPI


def deprecated_since(since: date) -> dict[str, Any]:
    """Make the arguments of a route that declare its operation deprecated since a date."""
    return {"deprecated": True, "openapi_extra": {DEPRECATED_SINCE: since.isoformat()}}


@cache
def make_deprecation_headers(since: str) -> dict[str, str]:
    """Make the headers of a deprecated operation.

    Args:
        since: the date, as `DEPRECATED_SINCE` has it.
    """
    start = datetime.combine(date.fromisoformat(since), time(), UTC)
    return {
        "Deprecation": f"@{int(start.timestamp())}",  # RFC 9745: a date of RFC 9651
        "Sunset": format_datetime(start + SUNSET_AFTER, usegmt=True),  # RFC 8594
    }
