"""What can go wrong with notifications."""

from __future__ import annotations

from app.core.errors import NotFound


class NotificationNotFound(NotFound):
    """No notification of the caller's organisation has this id."""

    code = "notification_not_found"
    title = "There is no such notification."
