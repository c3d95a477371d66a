"""Search texts: what people type to find tickets, users and requesters, as the words to look up (`words.py`)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import regex

from app.core import telephone_numbers
from app.core.words import (
    HAS_UNSPACED,
    JOINER,
    NUMBER_MARK,
    REFERENCE,
    REVERSED_NUMBER_MARK,
    Part,
    compose,
    find_spellings,
    make_pairs,
    remove_accents,
    split_parts,
    truncate_word,
)

MAX_TERMS = 8  # of a search text
MAX_NAMED_WORDS = 10  # of those that are left out
# Shorter words are not the beginnings of others in long texts: they would match too many.
MIN_PREFIX_LENGTH = 3

# What mail programs put before a subject.
_REPLY_PREFIXES = regex.compile(
    r"(?:\s*(?:re|aw|antw|sv|vs|vl|fw|fwd|wg|tr|rv|rif|ref|res|enc|odp|pd|ynt|ilt|vb|回复|回覆|答复|转发|轉寄|返信|転送|답장|전달)"
    r"(?:\[\d+\])?\s*:)+"
)
_EMAIL = re.compile(r"\S+@\S+")


@dataclass(frozen=True)
class Lookup:
    """A word to look up. Longer words that begin with it match too, unless `is_whole`."""

    word: str
    is_whole: bool = False

    @property
    def is_short(self) -> bool:
        """Whether the word is too short to look for longer ones in long texts."""
        return len(self.word) < MIN_PREFIX_LENGTH and not HAS_UNSPACED.match(self.word)


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
    composed = compose(text)
    prefixes = _REPLY_PREFIXES.match(composed)
    terms = list(dict.fromkeys(_make_terms(composed, prefixes.end() if prefixes else 0)))
    if not terms and prefixes:
        terms = list(dict.fromkeys(_make_terms(composed, 0)))
    terms = _remove_implied(terms)
    kept = set(sorted(terms, key=lambda term: term.rareness, reverse=True)[:MAX_TERMS])
    references = tuple((found[1], int(found[2])) for found in REFERENCE.finditer(composed))
    return SearchText(
        tuple(term for term in terms if term in kept), tuple(term for term in terms if term not in kept), references
    )


def _make_terms(composed: str, start: int) -> Iterator[Term]:
    parts = [part for part in split_parts(composed) if part.start >= start]
    whole_words = _find_whole_words(composed, parts)
    numbers = iter([found for found in telephone_numbers.NUMBER.finditer(composed) if found.start() >= start])
    number = next(numbers, None)
    groups: list[Lookup] = []
    for part in parts:
        while number and number.end() <= part.start:
            number, groups = next(numbers, None), []
        if number and number.start() <= part.start and part.end <= number.end():
            groups.append(Lookup(truncate_word(part.text), is_whole=part.start in whole_words))
            if part.end == number.end():
                yield from _number_terms(number[0], groups)
            continue
        # What looks like a number goes on as a word.
        yield from map(_make_term, groups)
        groups = []
        if part.is_unspaced:
            yield from (_make_term(Lookup(pair, is_whole=True)) for pair in make_pairs(part.text))
            if len(part.text) == 1:
                yield _make_term(Lookup(part.text))
        elif pieces := [piece for piece in JOINER.split(part.text) if remove_accents(piece)]:
            yield _word_term(pieces, is_whole=part.start in whole_words)


def _make_term(lookup: Lookup) -> Term:
    return Term(lookup.word, ((lookup,),))


def _find_whole_words(composed: str, parts: Sequence[Part]) -> set[int]:
    """Return where the words of e-mail addresses start, except the last word of each: `a@b` must not find `ab@b`."""
    found: set[int] = set()
    for email in _EMAIL.finditer(composed) if "@" in composed else ():
        starts = [part.start for part in parts if email.start() <= part.start < email.end()]
        found |= set(starts[:-1])
    return found


def _word_term(pieces: Sequence[str], *, is_whole: bool) -> Term:
    """Make the term of a word with apostrophes or hyphens between its pieces. Each has more than accents."""
    alternatives: list[tuple[Lookup, ...]] = [(Lookup(one, is_whole),) for one in find_spellings("".join(pieces))]
    if len(pieces) > 1:
        *first, last = (find_spellings(piece)[0] for piece in pieces)
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
