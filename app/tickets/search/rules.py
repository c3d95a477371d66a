"""The rules of full-text search, as pure functions: lexemes of tickets, and queries.

A lexeme is a word prefixed by its organisation. A search for a common word therefore only reads the organisation's own
part of the index. Organisations whose prefixes collide share that part, but never see each other's tickets.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from uuid import UUID

from app.core.search_texts import Lookup, SearchText, Term
from app.core.words import fold, index_words, prefix_upper_bound, reference_word

# The kind of the timer that indexes tickets. Its value changes with the rules of words (`core/words.py`), so that
# processes of the previous version leave the timers of a migration to those with the new rules.
INDEX_TICKETS = "INDEX_TICKET_WORDS"

# A `tsvector` holds up to a megabyte; the words of a ticket and of its replies must fit together: each word has at most
# 64 bytes and the prefix.
MAX_WORDS = 6000
# Of the requesters that match a word of a search, how many are searched for.
MAX_REQUESTERS = 200

# A word in more tickets than this is common. The index is not read for it if the rarest word has so many times fewer.
MIN_COMMON = 500
COMMON_FACTOR = 20
TICKETS_PER_REQUESTER = 20  # about

_NUMBER = re.compile(r"#?([0-9]{1,18})")
# Characters around a number in a sentence.
_PUNCTUATION = " [](){}<>'\".,:;!?"

_FINDING_THE_REST = "Other words of their names, or the filter `requester`, find the rest."

RequestersByWord = Mapping[Lookup, Sequence[UUID]]


class LexemeCounts:
    """How many rows of the index have each common lexeme, about. A lexeme that is not among them is rare."""

    def __init__(self, counts: Mapping[str, float]) -> None:
        self._lexemes = sorted(counts)
        self._sums = [0.0, *accumulate(counts[lexeme] for lexeme in self._lexemes)]

    def count(self, lexeme: str, *, with_longer: bool) -> float:
        """Return how many rows have a lexeme, or with longer ones that begin with it."""
        start = bisect_left(self._lexemes, lexeme)
        end = bisect_left(self._lexemes, prefix_upper_bound(lexeme) if with_longer else lexeme + "\0")
        return self._sums[end] - self._sums[start]


NO_COUNTS = LexemeCounts({})


def ticket_lexemes(org_id: UUID, number: int, requester_id: UUID, *texts: str) -> list[str]:
    """Return the lexemes of a ticket: those of its number and its requester, and those of its texts."""
    prefix = _prefix(org_id)
    found = [_number_lexeme(prefix, number), _requester_lexeme(prefix, requester_id), *lexemes(org_id, *texts)]
    return found[:MAX_WORDS]


def lexemes(org_id: UUID, *texts: str) -> list[str]:
    """Return the lexemes of texts."""
    prefix = _prefix(org_id)
    return [prefix + word for word in index_words(*texts)[: MAX_WORDS - 1]]


def query(
    org_id: UUID, text: str, reference_prefix: str, requesters: RequestersByWord = MappingProxyType({})
) -> str | None:
    """Return a `tsquery` for all terms of a text; `None` if the text contains no words.

    The query also matches the ticket whose number is the text, and tickets whose reference is anywhere in the text,
    with those that mention the reference: of a mail's subject, only the reference may be in the ticket.

    Args:
        reference_prefix: The part of the organisation's references before the hyphen, such as `GROWFIN`.
        requesters: The requesters whose name or e-mail address matches each word. Their tickets match the word too.
    """
    return _combine(org_id, text, reference_prefix, SearchText.parse(text).terms, requesters)


def index_query(
    org_id: UUID, text: str, reference_prefix: str, requesters: RequestersByWord, counts: LexemeCounts
) -> str | None:
    """Return a `tsquery` that also matches without the common ones of the terms; `None` if no term is common.

    Args:
        counts: How common the lexemes are.
    """
    terms = SearchText.parse(text).terms
    rarer = _find_rarer_terms(_prefix(org_id), terms, requesters, counts)
    return _combine(org_id, text, reference_prefix, rarer, requesters) if len(rarer) < len(terms) else None


def _combine(
    org_id: UUID, text: str, reference_prefix: str, terms: Sequence[Term], requesters: RequestersByWord
) -> str | None:
    if not terms:
        return None
    prefix, numbers, mentions = _prefix(org_id), [], []
    if number := _NUMBER.fullmatch(fold(text).strip(_PUNCTUATION)):
        numbers.append(int(number[1]))
    for found_prefix, found_number in SearchText.parse(text).references:
        if found_prefix == fold(reference_prefix):
            numbers.append(found_number)
            mentions.append(reference_word(found_prefix, found_number))
    others = [_number_lexeme(prefix, one) for one in numbers] + [prefix + mention for mention in mentions]
    all_terms = " & ".join(_format_term(prefix, term, requesters) for term in terms)
    return " | ".join([all_terms, *dict.fromkeys(f"'{other}'" for other in others)])


def is_common(org_id: UUID, text: str, requesters: RequestersByWord, counts: LexemeCounts) -> bool:
    """Return whether all terms of a text are common: whether many tickets match."""
    estimates = _estimate(_prefix(org_id), SearchText.parse(text).terms, requesters, counts)
    return bool(estimates) and min(estimates) > MIN_COMMON


def _find_rarer_terms(
    prefix: str, terms: Sequence[Term], requesters: RequestersByWord, counts: LexemeCounts
) -> Sequence[Term]:
    """Return the terms to read from the index: the rarest one, and those that are not much more common."""
    estimates = _estimate(prefix, terms, requesters, counts)
    limit = max(MIN_COMMON, COMMON_FACTOR * min(estimates, default=0))
    return [term for term, estimate in zip(terms, estimates, strict=True) if estimate <= limit]


def _estimate(
    prefix: str, terms: Sequence[Term], requesters: RequestersByWord, counts: LexemeCounts
) -> Sequence[float]:
    """Estimate how many tickets match each term."""

    def count(lookup: Lookup) -> float:
        found = counts.count(prefix + lookup.word, with_longer=matches_longer(lookup))
        return found + TICKETS_PER_REQUESTER * len(requesters.get(lookup, ()))

    return [sum(min(count(lookup) for lookup in alternative) for alternative in term.alternatives) for term in terms]


def describe_limits(text: str, requesters: RequestersByWord, truncated: frozenset[Lookup] = frozenset()) -> str | None:
    """Return what a client must know about the result of a search; `None` if there is nothing to tell.

    Args:
        truncated: The words for which not all words of requesters were read.
    """
    notes = [SearchText.parse(text).note]
    if words := sorted({lookup.word for lookup, ids in requesters.items() if len(ids) > MAX_REQUESTERS}):
        notes.append(
            f"More than {MAX_REQUESTERS} requesters match {', '.join(words)}: only the tickets of {MAX_REQUESTERS} of "
            f"them are searched for. {_FINDING_THE_REST}"
        )
    if words := sorted({lookup.word for lookup in truncated} - {*words}):
        notes.append(
            f"Too many words in the names of requesters match {', '.join(words)}: only the tickets of some of these "
            f"requesters are searched for. {_FINDING_THE_REST}"
        )
    return " ".join(note for note in notes if note) or None


def _prefix(org_id: UUID) -> str:
    return org_id.hex[-8:]


def _number_lexeme(prefix: str, number: int) -> str:
    return f"{prefix}#{number}"  # contains a character that no word has


def _requester_lexeme(prefix: str, requester_id: UUID) -> str:
    return f"{prefix}@{requester_id.hex}"


def matches_longer(lookup: Lookup) -> bool:
    """Return whether a word also matches longer ones that begin with it."""
    return not lookup.is_whole and not lookup.is_short


def match_word(lookup: Lookup, word: str) -> bool:
    """Return whether a word of a requester matches, as a lexeme would."""
    return word.startswith(lookup.word) if matches_longer(lookup) else word == lookup.word


def word_range(lookup: Lookup) -> tuple[str, str]:
    """Return the first word that matches, and a text behind the last one, in code point order."""
    return lookup.word, prefix_upper_bound(lookup.word) if matches_longer(lookup) else lookup.word + "\x01"


def _format_term(prefix: str, term: Term, requesters: RequestersByWord) -> str:
    alternatives = [
        " & ".join(_format_lookup(prefix, lookup, requesters.get(lookup, ())) for lookup in alternative)
        for alternative in term.alternatives
    ]
    return alternatives[0] if len(alternatives) == 1 else f"({' | '.join(alternatives)})"


def _format_lookup(prefix: str, lookup: Lookup, requesters: Sequence[UUID]) -> str:
    # A word consists of letters, digits and marks, so it needs no escaping.
    word = f"'{prefix}{lookup.word}'{':*' if matches_longer(lookup) else ''}"
    if not requesters:
        return word
    lexemes_of_requesters = (f"'{_requester_lexeme(prefix, one)}'" for one in requesters[:MAX_REQUESTERS])
    return f"({' | '.join([word, *lexemes_of_requesters])})"
