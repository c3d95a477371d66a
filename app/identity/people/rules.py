"""The rules about people, as pure functions."""

from __future__ import annotations

import unicodedata

MAX_WORD_LENGTH = 64


def words_of(*texts: str) -> set[str]:
    """The words that somebody is found by: of names and of an e-mail, folded; and each text that is one, as a whole."""
    found: set[str] = set()
    for text in texts:
        bare = folded(text)
        found |= {word[:MAX_WORD_LENGTH] for word in _split(bare)}
        if " " not in bare:
            found.add(bare[:MAX_WORD_LENGTH])
    return found - {""}


def folded(text: str) -> str:
    """The text without case and accents, so that `Ångström` is found by `angstrom`."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character)).strip()


def _split(text: str) -> list[str]:
    return "".join(character if character.isalnum() else " " for character in text).split()
