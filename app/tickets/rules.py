"""The rules of tickets, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

AUTO_CLOSE: Final = "AUTO_CLOSE"
AUTO_CLOSE_REMINDER = "AUTO_CLOSE_REMINDER"
ASSIGN = "ASSIGN"
# Of a user, or of a role: see users.py.
LINK_TICKETS = "LINK_TICKETS"
HAND_OVER = "HAND_OVER"
HAND_OVER_OF_ROLE = "HAND_OVER_OF_ROLE"
FORGET_REQUESTER = "FORGET_REQUESTER"

REMIND_BEFORE = timedelta(days=3)

T = TypeVar("T")


def auto_close_at(now: datetime, days: int) -> datetime:
    """When a ticket that is answered now closes by itself."""
    return now + timedelta(days=days)


def reminder_at(now: datetime, closes_at: datetime) -> datetime | None:
    """When the requester is told that the ticket will close; never, where that would be before the answer."""
    remind_at = closes_at - REMIND_BEFORE
    return remind_at if remind_at > now else None


def assignee(number: int, available: Sequence[T]) -> T | None:
    """Whose turn the ticket with this number is: a strict rotation over those available, in their fixed order."""
    return available[number % len(available)] if available else None


def auto_close_reason(responded_at: datetime, closes_at: datetime, reminder: datetime | None) -> str:
    """Why a ticket is going to close, for users to read."""
    days = (closes_at - responded_at).days
    reminded = f" The requester is reminded on {reminder:%Y-%m-%d}." if reminder else ""
    return f"Answered on {responded_at:%Y-%m-%d}: closes after {days} days without a new answer.{reminded}"
