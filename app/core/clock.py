"""Real time. An organisation's own time is real time plus its offset; rules never read either, they are told `now`."""

from __future__ import annotations

from datetime import UTC, datetime


def real_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
