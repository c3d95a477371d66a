"""Keep names that look the same from belonging to different people: here, the local parts of e-mail addresses.

RFC 8265 maps full-width and half-width characters to the usual ones, and the identifiers of RFC 8264 have no characters
such as ligatures, symbols and invisible ones. Of what remains, characters that look like ASCII letters are refused
(UTS #39, 4 and 5): `mike` with a dotless i (U+0131) or a Cyrillic e (U+0435).
"""

from __future__ import annotations

import unicodedata

from confusable_homoglyphs import categories, confusables
from precis_i18n import get_profile

# Scripts that are written together.
_EAST_ASIAN = frozenset({"HAN", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "LATIN"})
_ANY_SCRIPT = frozenset({"COMMON", "INHERITED"})
_IDENTIFIER = get_profile("UsernameCaseMapped")
_DOTTED_DOTS = ("i\u0307", "j\u0307")  # a dot on a letter that has one


def map_widths(text: str) -> str:
    """Replace full-width and half-width characters by the usual ones, such as U+FF4D by `m` (RFC 8265, 3.3)."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", "".join(_map_width(character) for character in text))


def _map_width(character: str) -> str:
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in {"<wide>", "<narrow>"} else character


def refuse_lookalike(name: str) -> str:
    """Return a name in lower case unchanged.

    Raises:
        ValueError: it has characters that identifiers may not have, or could be mistaken for another name.
    """
    if name.isascii():
        return name
    try:
        _IDENTIFIER.enforce(name)
    except UnicodeEncodeError as error:
        raise ValueError(f"The character U+{ord(name[error.start]):04X} is not allowed here: remove it.") from None
    scripts = categories.unique_aliases(name) - _ANY_SCRIPT
    if len(scripts) > 1 and not scripts <= _EAST_ASIAN:
        raise ValueError("This mixes letters of several scripts, and could be mistaken for another address.")
    similar = [character for character in name if _looks_like_ascii(character)]
    letters = [character for character in name if character.isalpha()]
    if (
        any(categories.alias(character) == "LATIN" for character in similar)
        or len(similar) == len(letters)
        or any(dots in unicodedata.normalize("NFD", name) for dots in _DOTTED_DOTS)
    ):
        raise ValueError("This has letters that look like others, and could be mistaken for another address.")
    return name


def _looks_like_ascii(character: str) -> bool:
    if character.isascii():
        return False
    found = confusables.is_confusable(character, greedy=True) or []
    similar = [one["c"] for entry in found for one in entry["homoglyphs"]]
    return any(len(one) == 1 and one.isascii() and one.isalnum() for one in similar)
