"""Comments as JSON: plain dictionaries in the shapes of `schemas.py`."""

from __future__ import annotations

from typing import Any

from app.tickets.comments.queries import CommentRow
from app.tickets.representation import represent_user


def represent_comment(row: CommentRow) -> dict[str, Any]:
    """Represent a comment with its author (`Comment`)."""
    return {
        "id": row["id"],
        "message": row["message"],
        "author": represent_user(row["author_id"], row["email"], row["first_name"], row["last_name"]),
        "createdAt": row["created_at"],
    }
