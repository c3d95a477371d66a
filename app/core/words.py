"""Words of a text, in the form in which searches store and look them up."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """Remove case and accents from a text, so that `angstrom` finds `Ångström`."""
    lower = text.casefold().strip()
    if lower.isascii():
        return lower
    decomposed = unicodedata.normalize("NFKD", lower)
    return "".join(character for character in decomposed if not unicodedata.combining(character)).strip()


def split_words(text: str) -> list[str]:
    """Split a folded text into its words: the runs of letters and digits, in order."""
    return _WORD.findall(text)
