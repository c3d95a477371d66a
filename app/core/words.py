"""Words of a text, in the form in which searches store and look them up."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
# Letters that Unicode does not decompose into a base letter and an accent.
_TRANSLITERATION = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


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


def transliterate(text: str) -> str:
    """Replace the letters of a folded text that have no accent to remove, so that `soren` finds `Søren`."""
    return text if text.isascii() else text.translate(_TRANSLITERATION)


def prefix_upper_bound(prefix: str) -> str:
    """Return a string greater than every word with this prefix, in code point order."""
    return prefix + chr(0x10FFFF)
