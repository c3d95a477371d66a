"""The rules of auto-close, as pure functions."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Final

# Kinds of timers.
AUTO_CLOSE: Final = "AUTO_CLOSE"
AUTO_CLOSE_REMINDER: Final = "AUTO_CLOSE_REMINDER"

REMIND_BEFORE = timedelta(days=3)


def auto_close_at(now: datetime, days: int) -> datetime:
    """Return when a ticket closes automatically if a reply is sent at `now`."""
    return now + timedelta(days=days)


def reminder_at(now: datetime, closes_at: datetime) -> datetime | None:
    """Return when to remind the requester; `None` if that time is not after `now`, the time of the reply."""
    remind_at = closes_at - REMIND_BEFORE
    return remind_at if remind_at > now else None


def auto_close_reason(responded_at: datetime, closes_at: datetime, reminder: datetime | None, zone: tzinfo) -> str:
    """Explain to users why a ticket will close. The days are in the organisation's time zone."""
    days = (closes_at - responded_at).days
    reminded = f" The requester is reminded on {reminder.astimezone(zone):%Y-%m-%d}." if reminder else ""
    replied_on = f"{responded_at.astimezone(zone):%Y-%m-%d}"
    return f"Replied to on {replied_on}: closes after {days} days without a new reply.{reminded}"
