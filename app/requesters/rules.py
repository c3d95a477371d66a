"""The rules about requesters, as pure functions."""

from __future__ import annotations

from app.core.email_addresses import is_deliverable
from app.core.words import index_name, index_words


def search_words(name: str | None, email: str) -> list[str]:
    """Return the words that find a requester, sorted. An erased requester has none."""
    return sorted({*index_name(name or ""), *index_words(email if is_deliverable(email) else "")})
