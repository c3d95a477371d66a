"""Words of a text, in the form in which searches store them and look them up.

Tickets, users and requesters share these rules: `index_words` returns what is stored of a text, and `SearchText.parse`
(`search_texts.py`) what a search text looks for. Every word of a text finds it, and so does every part of a text in a
script without spaces.

- Case, accents, width and invisible characters do not matter. Letters with an accent are also found by two letters, as
  in `mueller` for `Müller`, and the other way round.
- A word with an apostrophe or a hyphen is stored as one and in parts: `oconnor`, `o` and `connor`.
- Scripts without spaces are stored as pairs of neighbouring characters. A search looks for all pairs of its text.
- Telephone numbers are stored by their beginnings and by their last digits (`telephone_numbers.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import regex

from app.core import telephone_numbers

MAX_WORD_LENGTH = 32
MAX_WORD_BYTES = 64
MAX_TELEPHONE_NUMBERS = 50  # of a text
# A text is this long at most. Some characters stand for eighteen others.
_MAX_COMPOSED_LENGTH = 50_000
# Marks of what is not a word. No word contains them.
NUMBER_MARK, REVERSED_NUMBER_MARK = "+", "<"

# What stands for an apostrophe, within a word. Unicode has some of them as letters, and one as a space with an accent.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u05f3\u05f4", "'"))
_APOSTROPHE = "['`\u2018\u2019\u201b\u2032\u00b7\u2027]"
_HYPHEN = "[-\u2010]"
_SYMBOL = regex.compile(r"\p{So}")
# Soft hyphens, joiners, variation selectors, marks of direction; and the Arabic letter that only stretches a word.
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\u0640]")
_HEBREW_ABBREVIATION = regex.compile(r'(?<=\p{Hebrew})"(?=\p{Hebrew})')
_OTHER_DIGIT = regex.compile(r"(?V1)[\p{Nd}--[0-9]]")
# Accents and vowel points, which people leave out. In other scripts, marks are a part of the word.
_ACCENT = regex.compile(
    r"(?V1)[[\p{M}&&[\p{Zinh}\p{Latn}\p{Grek}\p{Cyrl}\p{Hebr}\p{Arab}\p{Syrc}]]--[\u3099\u309a]]|\p{Canonical_Combining_Class=7}"
)
# Letters that Unicode does not decompose into a base letter and an accent.
_TRANSLITERATION = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})

# The words of UAX #29, without the punctuation that may be within a word, but with apostrophes, and hyphens between
# letters: people write `e-mail` and `email`.
_LETTER = r"[\p{Alphabetic}\p{M}\p{N}]"
_WORD = regex.compile(rf"{_LETTER}+(?:(?:{_APOSTROPHE}|(?<=[\p{{L}}\p{{M}}]){_HYPHEN}(?=\p{{L}})){_LETTER}+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:(?:['`]|(?<=[a-z])-(?=[a-z]))[a-z0-9]+)*")
_JOINERS = "-\u2010'`\u2018\u2019\u201b\u2032\u00b7\u2027"
JOINER = re.compile(f"[{_JOINERS}]")
# Scripts without spaces between words, and Korean, whose compounds and endings are written without them.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Yi}\p{Tai_Le}"
    r"\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}\u30fc\u3099\u309a"
)
_PART = regex.compile(rf"(?V1)(?P<unspaced>[[{_UNSPACED}]&&[\p{{Alphabetic}}\p{{M}}\p{{N}}]]+)|[^{_UNSPACED}]+")
HAS_UNSPACED = regex.compile(f"[{_UNSPACED}]")
REFERENCE = re.compile(r"(?<![a-z0-9])([a-z0-9]{1,20})-([0-9]{1,18})(?![a-z0-9])")


# --- folding ---------------------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Remove case and accents from a text, so that `angstrom` finds `Ångström`."""
    return remove_accents(compose(text)).strip()


def compose(text: str) -> str:
    """Remove case, invisible characters and compatibility forms (such as full width) from a text."""
    lower = text.casefold()
    if lower.isascii():
        return lower
    cleaned = _SYMBOL.sub(r" \g<0> ", _INVISIBLE.sub("", lower.translate(_APOSTROPHES)))
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cleaned).casefold()).translate(_APOSTROPHES)
    composed = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), composed)
    return str(_HEBREW_ABBREVIATION.sub("'", composed[:_MAX_COMPOSED_LENGTH]))


def remove_accents(composed: str) -> str:
    """Remove the accents from a composed text."""
    if composed.isascii():
        return composed
    bare = _ACCENT.sub("", unicodedata.normalize("NFD", composed)).translate(_TRANSLITERATION)
    return unicodedata.normalize("NFC", bare)


def truncate_word(word: str) -> str:
    """Return the part of a word that is compared."""
    beginning = word[:MAX_WORD_LENGTH]
    return beginning if beginning.isascii() else beginning.encode()[:MAX_WORD_BYTES].decode(errors="ignore")


def find_spellings(word: str) -> list[str]:
    """Return the spellings of a word: without accents, and with two letters in place of one with an accent."""
    if word.isascii():
        return [word[:MAX_WORD_LENGTH]]
    return list(dict.fromkeys(truncate_word(remove_accents(one)) for one in (word, word.translate(_TWO_LETTERS))))


# --- splitting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part of a text: a word of one kind of script, without case. `start` and `end` are its place in the text."""

    text: str
    start: int
    end: int
    is_unspaced: bool = False


def split_parts(composed: str) -> Iterator[Part]:
    """Split a composed text into its words, and those where scripts with and without spaces meet."""
    pattern = _ASCII_WORD if composed.isascii() else _WORD
    has_unspaced = pattern is _WORD and HAS_UNSPACED.search(composed)
    for word in pattern.finditer(composed):
        if not (has_unspaced and HAS_UNSPACED.search(word[0])):
            yield Part(word[0], word.start(), word.end())
            continue
        for part in _PART.finditer(word[0]):
            start, end = word.start() + part.start(), word.start() + part.end()
            if part["unspaced"] is not None:
                if text := remove_accents(part[0]):
                    yield Part(text, start, end, is_unspaced=True)
            elif text := part[0].strip(_JOINERS):
                yield Part(text, start, end)


def make_pairs(text: str) -> list[str]:
    """Return the pairs of neighbouring characters of a text."""
    return [text[place : place + 2] for place in range(len(text) - 1)]


def index_words(*texts: str) -> list[str]:
    """Return the distinct words that are stored of texts, in order, so that searches find the texts."""
    found: dict[str, None] = {}
    for text in texts:
        composed = compose(text)
        _add_words(found, composed)
        for reference in REFERENCE.finditer(composed):
            if not reference[1].isdigit():
                found[reference_word(reference[1], int(reference[2]))] = None
        for _, number in zip(range(MAX_TELEPHONE_NUMBERS), telephone_numbers.NUMBER.finditer(composed), strict=False):
            _add_number(found, number[0])
    found.pop("", None)
    return list(found)


def _add_words(found: dict[str, None], composed: str) -> None:
    is_ascii = composed.isascii()
    if is_ascii or not HAS_UNSPACED.search(composed):
        for word in dict.fromkeys((_ASCII_WORD if is_ascii else _WORD).findall(composed)):
            _add_spellings(found, word)
        return
    previous: Part | None = None
    for part in split_parts(composed):
        if part.is_unspaced:
            # A space between two of these does not matter: the Korean ones are optional, and names are written without.
            if previous and previous.is_unspaced and not composed[previous.end : part.start].strip(" "):
                found[previous.text[-1] + part.text[0]] = None
            found.update(dict.fromkeys(make_pairs(part.text)))
            found[part.text[-1:]] = None  # found by this one character, as others are by their pairs
        else:
            _add_spellings(found, part.text)
        previous = part


def _add_spellings(found: dict[str, None], word: str) -> None:
    pieces = JOINER.split(word) if not word.isalnum() else [word]
    if len(pieces) > 1:
        found.update(dict.fromkeys(find_spellings("".join(pieces))))
    for piece in pieces:
        found.update(dict.fromkeys(find_spellings(piece)))


def _add_number(found: dict[str, None], number: str) -> None:
    found.update(dict.fromkeys(NUMBER_MARK + digits for digits in telephone_numbers.find_suffixes(number)))
    if last := telephone_numbers.reverse_digits(number, min_digits=telephone_numbers.MIN_DIGITS):
        found[REVERSED_NUMBER_MARK + last] = None


def index_name(*names: str) -> list[str]:
    """Return the words that are stored of a person's names, which are also found without spaces, in either order."""
    parts = [part for name in names for part in name.split()]
    found = dict.fromkeys(index_words(" ".join(parts)))
    name = remove_accents(compose(parts[0])) if len(parts) == 1 else ""
    if len(name) > 1 and all(map(HAS_UNSPACED.match, (name[0], name[-1]))):
        # Where the given name begins is not known, but this pair is the only new one in any other order.
        found[name[-1] + name[0]] = None
    if len(parts) > 1:
        splits = {1, len(parts) - 1, len(names[0].split()) or 1}
        orders = [parts, *([*parts[split:], *parts[:split]] for split in sorted(splits))]
        for order in orders:
            joined = "".join(part.text for part in split_parts(compose(" ".join(order))))
            found |= dict.fromkeys(index_words(joined))
    return list(found)


def reference_word(prefix: str, number: int) -> str:
    """Return the word that is stored of a mentioned reference, such as `GROWFIN-42`."""
    return f"{prefix}-{number}"


def prefix_upper_bound(prefix: str) -> str:
    """Return a string greater than every word with this prefix, in code point order."""
    return prefix + chr(0x10FFFF)
