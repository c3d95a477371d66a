"""The rules of full-text search, as pure functions: lexemes of tickets, and queries.

A lexeme is a word prefixed by its organisation. A search for a common word therefore only reads the organisation's own
part of the index. Organisations whose prefixes collide share that part, but never see each other's tickets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from app.core.words import Lookup, SearchText, Term, fold, index_words, prefix_upper_bound, reference_word

# The kind of the timer that indexes tickets. Its value changes with the rules of words (`core/words.py`), so that
# processes of the previous version leave the timers of a migration to those with the new rules.
INDEX_TICKETS = "INDEX_TICKET_WORDS"

# A `tsvector` holds up to a megabyte; the words of a ticket and of its replies must fit together: each word has at most
# 64 bytes and the prefix.
MAX_WORDS = 6000
# Of the requesters that match a word of a search, how many are searched for.
MAX_REQUESTERS = 200

_NUMBER = re.compile(r"#?([0-9]{1,18})")
# Characters around a number in a sentence.
_PUNCTUATION = " [](){}<>'\".,:;!?"

RequestersByWord = Mapping[Lookup, Sequence[UUID]]


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
    prefix, search_text = _prefix(org_id), SearchText.parse(text)
    terms = " & ".join(_format_term(prefix, term, requesters) for term in search_text.terms)
    if not terms:
        return None
    numbers, mentions = [], []
    if number := _NUMBER.fullmatch(fold(text).strip(_PUNCTUATION)):
        numbers.append(int(number[1]))
    for found_prefix, found_number in search_text.references:
        if found_prefix == fold(reference_prefix):
            numbers.append(found_number)
            mentions.append(reference_word(found_prefix, found_number))
    others = [_number_lexeme(prefix, one) for one in numbers] + [prefix + mention for mention in mentions]
    return " | ".join([terms, *dict.fromkeys(f"'{other}'" for other in others)])


def describe_limits(text: str, requesters: RequestersByWord) -> str | None:
    """Return what a client must know about the result of a search; `None` if there is nothing to tell."""
    notes = [SearchText.parse(text).note]
    if words := sorted({lookup.word for lookup, ids in requesters.items() if len(ids) > MAX_REQUESTERS}):
        notes.append(
            f"More than {MAX_REQUESTERS} requesters match {', '.join(words)}: only the tickets of {MAX_REQUESTERS} of "
            "them are searched for. Other words of their names, or the filter `requester`, find the rest."
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
