"""Words of a text, in the form in which searches store them and look them up.

Tickets, users and requesters share these rules: `index_words` returns what is stored of a text, and `SearchText.parse`
what a search text looks for. Every word of a text, and every part of a text in a script without spaces, finds it.

- Case, accents, width and invisible characters do not matter. Letters with an accent are also found by two letters, as
  in `mueller` for `Müller`, and the other way round.
- A word with an apostrophe or a hyphen is stored as one and in parts: `oconnor`, `o` and `connor`.
- Scripts without spaces are stored as pairs of neighbouring characters. A search looks for all pairs of its text.
- Telephone numbers are stored by their beginnings and by their last digits (`telephone_numbers.py`).
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from app.core import telephone_numbers

MAX_WORD_LENGTH = 32
MAX_WORD_BYTES = 64
MAX_TERMS = 8  # of a search text
MAX_NAMED_WORDS = 10  # of those that are left out
# Shorter words are not the beginnings of others in long texts: they would match too many.
MIN_PREFIX_LENGTH = 3
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
_JOINER = re.compile(f"[{_JOINERS}]")
# Scripts without spaces between words, and Korean, whose compounds and endings are written without them.
_UNSPACED = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Yi}\p{Tai_Le}"
    r"\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}\u30fc\u3099\u309a"
)
_PART = regex.compile(rf"(?V1)(?P<unspaced>[[{_UNSPACED}]&&[\p{{Alphabetic}}\p{{M}}\p{{N}}]]+)|[^{_UNSPACED}]+")
_HAS_UNSPACED = regex.compile(f"[{_UNSPACED}]")
_REPLY_PREFIXES = regex.compile(
    r"(?:\s*(?:re|aw|antw|sv|vs|vl|fw|fwd|wg|tr|rv|rif|ref|res|enc|odp|pd|ynt|ilt|vb|回复|回覆|答复|转发|轉寄|返信|転送|답장|전달)"
    r"(?:\[\d+\])?\s*:)+"
)
_EMAIL = re.compile(r"\S+@\S+")
_REFERENCE = re.compile(r"(?<![a-z0-9])([a-z0-9]{1,20})-([0-9]{1,18})(?![a-z0-9])")


# --- folding ---------------------------------------------------------------------------------------------------------


def fold(text: str) -> str:
    """Remove case and accents from a text, so that `angstrom` finds `Ångström`."""
    return _remove_accents(_compose(text)).strip()


def _compose(text: str) -> str:
    """Remove case, invisible characters and compatibility forms (such as full width) from a text."""
    lower = text.casefold()
    if lower.isascii():
        return lower
    cleaned = _SYMBOL.sub(r" \g<0> ", _INVISIBLE.sub("", lower.translate(_APOSTROPHES)))
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cleaned).casefold()).translate(_APOSTROPHES)
    composed = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), composed)
    return str(_HEBREW_ABBREVIATION.sub("'", composed[:_MAX_COMPOSED_LENGTH]))


def _remove_accents(composed: str) -> str:
    if composed.isascii():
        return composed
    bare = _ACCENT.sub("", unicodedata.normalize("NFD", composed)).translate(_TRANSLITERATION)
    return unicodedata.normalize("NFC", bare)


def _cut(word: str) -> str:
    """Return the part of a word that is compared."""
    cut = word[:MAX_WORD_LENGTH]
    return cut if cut.isascii() else cut.encode()[:MAX_WORD_BYTES].decode(errors="ignore")


def _spellings(word: str) -> list[str]:
    """Return the spellings of a word: without accents, and with two letters in place of one with an accent."""
    if word.isascii():
        return [word[:MAX_WORD_LENGTH]]
    return list(dict.fromkeys(_cut(_remove_accents(one)) for one in (word, word.translate(_TWO_LETTERS))))


# --- splitting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A part of a text: a word of one kind of script, without case. `start` and `end` are its place in the text."""

    text: str
    start: int
    end: int
    is_unspaced: bool = False


def _split(composed: str) -> Iterator[_Part]:
    pattern = _ASCII_WORD if composed.isascii() else _WORD
    has_unspaced = pattern is _WORD and _HAS_UNSPACED.search(composed)
    for word in pattern.finditer(composed):
        if not (has_unspaced and _HAS_UNSPACED.search(word[0])):
            yield _Part(word[0], word.start(), word.end())
            continue
        for part in _PART.finditer(word[0]):
            start, end = word.start() + part.start(), word.start() + part.end()
            if part["unspaced"] is not None:
                if text := _remove_accents(part[0]):
                    yield _Part(text, start, end, is_unspaced=True)
            elif text := part[0].strip(_JOINERS):
                yield _Part(text, start, end)


def _pairs(text: str) -> list[str]:
    return [text[place : place + 2] for place in range(len(text) - 1)]


def index_words(*texts: str) -> list[str]:
    """Return the distinct words that are stored of texts, in order, so that searches find the texts."""
    found: dict[str, None] = {}
    for text in texts:
        composed = _compose(text)
        _add_words(found, composed)
        for reference in _REFERENCE.finditer(composed):
            if not reference[1].isdigit():
                found[reference_word(reference[1], int(reference[2]))] = None
        for _, number in zip(range(MAX_TELEPHONE_NUMBERS), telephone_numbers.NUMBER.finditer(composed), strict=False):
            _add_number(found, number[0])
    found.pop("", None)
    return list(found)


def _add_words(found: dict[str, None], composed: str) -> None:
    is_ascii = composed.isascii()
    if is_ascii or not _HAS_UNSPACED.search(composed):
        for word in dict.fromkeys((_ASCII_WORD if is_ascii else _WORD).findall(composed)):
            _add_spellings(found, word)
        return
    previous: _Part | None = None
    for part in _split(composed):
        if part.is_unspaced:
            # A space between two of these does not matter: the Korean ones are optional, and names are written without.
            if previous and previous.is_unspaced and not composed[previous.end : part.start].strip(" "):
                found[previous.text[-1] + part.text[0]] = None
            found.update(dict.fromkeys(_pairs(part.text)))
            found[part.text[-1:]] = None  # found by this one character, as others are by their pairs
        else:
            _add_spellings(found, part.text)
        previous = part


def _add_spellings(found: dict[str, None], word: str) -> None:
    pieces = _JOINER.split(word) if not word.isalnum() else [word]
    if len(pieces) > 1:
        found.update(dict.fromkeys(_spellings("".join(pieces))))
    for piece in pieces:
        found.update(dict.fromkeys(_spellings(piece)))


def _add_number(found: dict[str, None], number: str) -> None:
    found.update(dict.fromkeys(NUMBER_MARK + digits for digits in telephone_numbers.find_suffixes(number)))
    if last := telephone_numbers.reverse_digits(number, min_digits=telephone_numbers.MIN_DIGITS):
        found[REVERSED_NUMBER_MARK + last] = None


def index_name(*names: str) -> list[str]:
    """Return the words that are stored of a person's names, which are also found without spaces, in either order."""
    parts = [part for name in names for part in name.split()]
    found = dict.fromkeys(index_words(" ".join(parts)))
    name = _remove_accents(_compose(parts[0])) if len(parts) == 1 else ""
    if len(name) > 1 and all(map(_HAS_UNSPACED.match, (name[0], name[-1]))):
        # Where the given name begins is not known, but this pair is the only new one in any other order.
        found[name[-1] + name[0]] = None
    if len(parts) > 1:
        splits = {1, len(parts) - 1, len(names[0].split()) or 1}
        orders = [parts, *([*parts[split:], *parts[:split]] for split in sorted(splits))]
        for order in orders:
            joined = "".join(part.text for part in _split(_compose(" ".join(order))))
            found |= dict.fromkeys(index_words(joined))
    return list(found)


def reference_word(prefix: str, number: int) -> str:
    """Return the word that is stored of a mentioned reference, such as `GROWFIN-42`."""
    return f"{prefix}-{number}"


# --- searching -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lookup:
    """A word to look up. Longer words that begin with it match too, unless `is_whole`."""

    word: str
    is_whole: bool = False

    @property
    def is_short(self) -> bool:
        """Whether the word is too short to look for longer ones in long texts."""
        return len(self.word) < MIN_PREFIX_LENGTH and not _HAS_UNSPACED.match(self.word)


@dataclass(frozen=True)
class Term:
    """A term of a search. A text matches if it has all words of one of the alternatives."""

    text: str
    alternatives: tuple[tuple[Lookup, ...], ...]

    @property
    def is_single_word(self) -> bool:
        """Whether the term looks up one word only."""
        return len(self.alternatives) == 1 and len(self.alternatives[0]) == 1

    @property
    def lookups(self) -> Iterator[Lookup]:
        """All words that the term looks up."""
        return (lookup for alternative in self.alternatives for lookup in alternative)

    @property
    def rareness(self) -> tuple[int, int]:
        """An estimate of how few texts have the term: digits are rarest, then long words."""
        if self.text.isascii():
            return int(any(character.isdigit() for character in self.text)), len(self.text)
        # A pair of syllables says less than a pair of Chinese characters, and each of them more than a pair of letters.
        return 0, sum(1 if "\u3040" <= one <= "\u309f" else 3 if one >= "\u3400" else 1 for one in self.text)


@dataclass(frozen=True)
class SearchText:
    """A search text: its terms, all of which must match, and those that were left out because they are too many."""

    terms: tuple[Term, ...]
    left_out: tuple[Term, ...] = ()
    references: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> SearchText:
        """Parse a search text. Of more than `MAX_TERMS` terms, it keeps the rarest."""
        return _parse(text)

    @property
    def lookups(self) -> Sequence[Lookup]:
        """All distinct words to look up."""
        return list(dict.fromkeys(lookup for term in self.terms for lookup in term.lookups))

    @property
    def note(self) -> str | None:
        """What a client must know about the result: that nothing can match, or which words were left out."""
        if not self.terms:
            return "The search text contains no letters or digits, so it matches nothing."
        if self.left_out:
            words = ", ".join(term.text for term in self.left_out[:MAX_NAMED_WORDS])
            others = len(self.left_out) - MAX_NAMED_WORDS
            words += f" and {others} more" if others > 0 else ""
            return f"Only the {MAX_TERMS} rarest words of the search text were looked for, without: {words}."
        return None


@lru_cache(maxsize=1000)  # a request parses its text more than once
def _parse(text: str) -> SearchText:
    composed = _compose(text)
    prefixes = _REPLY_PREFIXES.match(composed)
    terms = list(dict.fromkeys(_make_terms(composed, prefixes.end() if prefixes else 0)))
    if not terms and prefixes:
        terms = list(dict.fromkeys(_make_terms(composed, 0)))
    terms = _remove_implied(terms)
    kept = set(sorted(terms, key=lambda term: term.rareness, reverse=True)[:MAX_TERMS])
    references = tuple((found[1], int(found[2])) for found in _REFERENCE.finditer(composed))
    return SearchText(
        tuple(term for term in terms if term in kept), tuple(term for term in terms if term not in kept), references
    )


def _make_terms(composed: str, start: int) -> Iterator[Term]:
    parts = [part for part in _split(composed) if part.start >= start]
    whole_words = _find_whole_words(composed, parts)
    numbers = iter([found for found in telephone_numbers.NUMBER.finditer(composed) if found.start() >= start])
    number = next(numbers, None)
    groups: list[Lookup] = []
    for part in parts:
        while number and number.end() <= part.start:
            number, groups = next(numbers, None), []
        if number and number.start() <= part.start and part.end <= number.end():
            groups.append(Lookup(_cut(part.text), is_whole=part.start in whole_words))
            if part.end == number.end():
                yield from _number_terms(number[0], groups)
            continue
        # What looks like a number goes on as a word.
        yield from map(_make_term, groups)
        groups = []
        if part.is_unspaced:
            yield from (_make_term(Lookup(pair, is_whole=True)) for pair in _pairs(part.text))
            if len(part.text) == 1:
                yield _make_term(Lookup(part.text))
        elif _remove_accents(part.text):
            yield _word_term(part.text, is_whole=part.start in whole_words)


def _make_term(lookup: Lookup) -> Term:
    return Term(lookup.word, ((lookup,),))


def _find_whole_words(composed: str, parts: Sequence[_Part]) -> set[int]:
    """Return where the words of e-mail addresses start, except the last word of each: `a@b` must not find `ab@b`."""
    found: set[int] = set()
    for email in _EMAIL.finditer(composed) if "@" in composed else ():
        starts = [part.start for part in parts if email.start() <= part.start < email.end()]
        found |= set(starts[:-1])
    return found


def _word_term(word: str, *, is_whole: bool) -> Term:
    pieces = _JOINER.split(word)
    alternatives: list[tuple[Lookup, ...]] = [(Lookup(one, is_whole),) for one in _spellings("".join(pieces))]
    if len(pieces) > 1:
        *first, last = (_spellings(piece)[0] for piece in pieces)
        alternatives.append((*(Lookup(one, is_whole=True) for one in first), Lookup(last, is_whole)))
    return Term(alternatives[0][0].word, tuple(alternatives))


def _number_terms(number: str, words: Sequence[Lookup]) -> Iterator[Term]:
    alternatives: list[tuple[Lookup, ...]] = [
        (Lookup(NUMBER_MARK + digits),) for digits in telephone_numbers.find_beginnings(number)
    ]
    last = telephone_numbers.reverse_digits(number, min_digits=telephone_numbers.MIN_LAST_DIGITS)
    if last is not None:
        alternatives.append((Lookup(REVERSED_NUMBER_MARK + last),))
    if alternatives:
        yield Term(" ".join(one.word for one in words), (tuple(words), *alternatives))
    else:
        yield from map(_make_term, words)


def _remove_implied(terms: Sequence[Term]) -> list[Term]:
    """Remove the terms that match every text with another one, since their only word begins the other's only word."""
    words = sorted({term.alternatives[0][0].word for term in terms if term.is_single_word})

    def is_implied(term: Term) -> bool:
        lookup = term.alternatives[0][0]
        if not term.is_single_word or lookup.is_whole or lookup.is_short:
            return False
        place = bisect_right(words, lookup.word)
        return place < len(words) and words[place].startswith(lookup.word)

    return [term for term in terms if not is_implied(term)]


def prefix_upper_bound(prefix: str) -> str:
    """Return a string greater than every word with this prefix, in code point order."""
    return prefix + chr(0x10FFFF)
