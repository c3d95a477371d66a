"""The rules about requesters, as pure functions."""

from __future__ import annotations

from app.core.fields import is_deliverable
from app.core.words import fold, split_words, transliterate

MAX_WORD_LENGTH = 32


def normalise_words(text: str) -> list[str]:
    """Return the words of a text in the form in which searches compare them."""
    return [word[:MAX_WORD_LENGTH] for word in split_words(transliterate(fold(text)))]


def search_words(name: str | None, email: str) -> list[str]:
    """Return the words that find a requester, sorted. An erased requester has none."""
    texts = (name or "", email if is_deliverable(email) else "")
    return sorted({word for text in texts for word in normalise_words(text)})
