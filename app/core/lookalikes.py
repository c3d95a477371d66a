"""Keep names that look the same from belonging to different people: here, the local parts of e-mail addresses.

RFC 8265 maps full-width and half-width characters to the usual ones, and the identifiers of RFC 8264 have no characters
such as ligatures, symbols and invisible ones. What remains can have letters that look like ASCII letters (UTS #39, 4
and 5): `mike` with a dotless i (U+0131) or a Cyrillic e (U+0435). Accounts may not have such a name. Requesters may,
because their addresses are those that exist, such as a wholly Cyrillic one: mails name the letters.
"""

from __future__ import annotations

import re
import unicodedata

from confusable_homoglyphs import categories, confusables
from precis_i18n import get_profile

# Scripts that are written together.
_EAST_ASIAN = frozenset({"HAN", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "LATIN"})
_ANY_SCRIPT = frozenset({"COMMON", "INHERITED"})
_IDENTIFIER = get_profile("UsernameCaseMapped")
_DOTTED_DOTS = ("i\u0307", "j\u0307")  # a dot on a letter that has one
_WORD_END = re.compile(r"[\W\d_]+")
MAX_NAMED_LETTERS = 3  # in a mail


def map_widths(text: str) -> str:
    """Replace full-width and half-width characters by the usual ones, such as U+FF4D by `m` (RFC 8265, 3.3)."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", "".join(_map_width(character) for character in text))


def _map_width(character: str) -> str:
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in {"<wide>", "<narrow>"} else character


def refuse_odd_characters(name: str) -> str:
    """Return a name in lower case unchanged.

    Raises:
        ValueError: it has characters that identifiers may not have.
    """
    if not name.isascii():
        try:
            _IDENTIFIER.enforce(name)
        except UnicodeEncodeError as error:
            raise ValueError(f"The character U+{ord(name[error.start]):04X} is not allowed here: remove it.") from None
    return name


def refuse_lookalike(name: str) -> str:
    """Return a name in lower case unchanged.

    Raises:
        ValueError: it has characters that identifiers may not have, or could be mistaken for another name.
    """
    refuse_odd_characters(name)
    if mixes_scripts(name):
        raise ValueError("This mixes letters of several scripts, and could be mistaken for another address.")
    if _is_similar_to_ascii(name):
        raise ValueError("This has letters that look like others, and could be mistaken for another address.")
    return name


def describe_lookalike(name: str) -> str | None:
    """Name the letters of a name that could be mistaken for another; `None` if it could not."""
    if not mixes_scripts(name) and not _is_similar_to_ascii(name):
        return None
    letters = [character for character in name if _looks_like_ascii(character)]
    letters = letters or [character for character in name if not character.isascii()]
    named = [unicodedata.name(letter, f"U+{ord(letter):04X}").capitalize() for letter in dict.fromkeys(letters)]
    return ", ".join([*named[:MAX_NAMED_LETTERS], *(["…"] if len(named) > MAX_NAMED_LETTERS else [])])


def mixes_scripts(name: str) -> bool:
    """Return whether a word of a name has letters of several scripts that are not written together."""
    if name.isascii():
        return False
    scripts = [categories.unique_aliases(word) - _ANY_SCRIPT for word in _WORD_END.split(name) if word]
    return any(len(word) > 1 and not word <= _EAST_ASIAN for word in scripts)


def _is_similar_to_ascii(name: str) -> bool:
    """Return whether a name looks like one of ASCII letters, or like another Latin one."""
    similar = [character for character in name if _looks_like_ascii(character)]
    foreign = [character for character in name if character.isalpha() and not character.isascii()]
    return (
        any(categories.alias(character) == "LATIN" for character in similar)
        or (bool(similar) and len(similar) >= len(foreign))
        or any(dots in unicodedata.normalize("NFD", name) for dots in _DOTTED_DOTS)
    )


def _looks_like_ascii(character: str) -> bool:
    if character.isascii():
        return False
    found = confusables.is_confusable(character, greedy=True) or []
    similar = [one["c"] for entry in found for one in entry["homoglyphs"]]
    return any(len(one) == 1 and one.isascii() and one.isalnum() for one in similar)
