"""The rules of sessions, as pure functions and constants."""

from __future__ import annotations

from datetime import timedelta

SESSION_LIFETIME = timedelta(days=1)
REMEMBERED_SESSION_LIFETIME = timedelta(days=30)
# A response may get lost: within this time, the same refresh token gets the same successor again.
REFRESH_RETRY_WINDOW = timedelta(seconds=10)


def session_lifetime(*, remembered: bool) -> timedelta:
    """Return how long a session lasts after its last use."""
    return REMEMBERED_SESSION_LIFETIME if remembered else SESSION_LIFETIME
