"""Real time. An organisation's time is real time plus its offset. Rules read neither: they receive `now`."""

from __future__ import annotations

from datetime import UTC, datetime


def real_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
