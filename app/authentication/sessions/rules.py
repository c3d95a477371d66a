"""The rules of sessions, as pure functions and constants."""

from __future__ import annotations

from datetime import datetime, timedelta

SESSION_LIFETIME = timedelta(days=1)
REMEMBERED_SESSION_LIFETIME = timedelta(days=30)
# However often it is refreshed; the setting `SESSION_MAX_DAYS`.
DEFAULT_MAX_AGE = timedelta(days=90)
# A response may get lost: within this time, the same refresh token gets the same successor again.
REFRESH_RETRY_WINDOW = timedelta(seconds=10)


def session_lifetime(*, remembered: bool) -> timedelta:
    """Return how long a session lasts after its last use."""
    return REMEMBERED_SESSION_LIFETIME if remembered else SESSION_LIFETIME


def session_expiry(*, created_at: datetime, used_at: datetime, remembered: bool, max_age: timedelta) -> datetime:
    """Return when a session ends that is not used after `used_at`. Using it never extends it beyond `max_age`."""
    return min(used_at + session_lifetime(remembered=remembered), created_at + max_age)
