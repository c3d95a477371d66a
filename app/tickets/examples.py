"""Ticket fields whose example values differ by operation."""

from __future__ import annotations

from typing import Any

_CHANGED_AT = "2026-03-02T09:35:00.125Z"

# A ticket of version 1 after a change.
CHANGED: dict[str, Any] = {"version": 2, "updatedAt": _CHANGED_AT}
ACCEPTED: dict[str, Any] = {**CHANGED, "status": "IN_PROGRESS", "acceptedAt": _CHANGED_AT}
RESPONDED: dict[str, Any] = {
    **CHANGED,
    "status": "RESPONDED",
    "respondedAt": _CHANGED_AT,
    "autoCloseAt": "2026-04-01T09:35:00.125Z",
}
REPLY: dict[str, Any] = {"createdAt": _CHANGED_AT, "ticket": RESPONDED}
