"""Arithmetic of times and intervals in SQL."""

from __future__ import annotations


def add_interval_sql(time: str, interval: str) -> str:
    """Return the SQL that adds an interval to a `timestamptz`, by way of UTC without a time zone.

    PostgreSQL calls `timestamptz + interval` stable, since a day may have 23 hours in the session's time zone. Citus
    refuses stable functions of columns in an `UPDATE`.
    """
    return f"timezone('UTC', timezone('UTC', {time}) + {interval})"
