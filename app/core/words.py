"""The words of a text, as they are stored and looked for."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """The text without case and accents, so that `Ångström` is found by `angstrom`."""
    lower = text.casefold().strip()
    if lower.isascii():
        return lower
    decomposed = unicodedata.normalize("NFKD", lower)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).strip()


def words(text: str) -> list[str]:
    """The runs of letters and digits in a folded text, in order."""
    return _WORD.findall(text)
