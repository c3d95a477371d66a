"""The rules about requesters, as pure functions."""

from __future__ import annotations

from uuid import UUID

from app.core.fields import RESERVED_EMAIL_DOMAIN, is_deliverable
from app.core.words import fold, split_words, transliterate

MAX_WORD_LENGTH = 32


def erased_email(requester_id: UUID) -> str:
    """Return the address that replaces an erased requester's."""
    return f"erased-{requester_id}@{RESERVED_EMAIL_DOMAIN}"


def normalise_words(text: str) -> list[str]:
    """Return the words of a text in the form in which searches compare them."""
    return [word[:MAX_WORD_LENGTH] for word in split_words(transliterate(fold(text)))]


def search_words(name: str | None, email: str) -> list[str]:
    """Return the words that find a requester, sorted. An erased requester has none."""
    texts = (name or "", email if is_deliverable(email) else "")
    return sorted({word for text in texts for word in normalise_words(text)})
