"""Errors about notifications."""

from __future__ import annotations

from app.core.errors import NotFound


class NotificationNotFound(NotFound):
    """Your organisation has no notification with this id."""

    code = "notification_not_found"
    title = "There is no such notification."
    advice = "`GET /notifications` lists them."
