"""The rules of full-text search, as pure functions: lexemes of tickets, and queries.

A lexeme is a word prefixed by its organisation. A search for a common word therefore only reads the organisation's own
part of the index. Organisations whose prefixes collide share that part, but never see each other's tickets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from app.core.words import fold, prefix_upper_bound, split_words, transliterate

INDEX_TICKETS = "INDEX_TICKETS"  # the kind of the timer that indexes tickets

# A `tsvector` holds up to a megabyte; the words of a ticket and of its replies must fit together.
MAX_WORDS = 3000
MAX_WORD_LENGTH = 32
MAX_QUERY_TERMS = 8
# Of the requesters that match a word of a search, how many are searched for.
MAX_REQUESTERS = 200
# Shorter terms match whole words only: as prefixes they would match too many.
MIN_PREFIX_LENGTH = 3

_REFERENCE = re.compile(r"(.*?)([0-9]{1,18})")
# Characters around a reference in the subject of a mail, or in a sentence.
_PUNCTUATION = " [](){}<>'\".,:;!?"


def ticket_lexemes(org_id: UUID, number: int, requester_id: UUID, *texts: str) -> list[str]:
    """Return the lexemes of a ticket: those of its number and its requester, and those of its texts."""
    prefix = _prefix(org_id)
    found = [_number_lexeme(prefix, number), _requester_lexeme(prefix, requester_id), *lexemes(org_id, *texts)]
    return found[:MAX_WORDS]


def lexemes(org_id: UUID, *texts: str) -> list[str]:
    """Return the lexemes of texts."""
    unique_words = dict.fromkeys(word for text in texts for word in _normalised_words(text))
    prefix = _prefix(org_id)
    return [prefix + word for word in unique_words][: MAX_WORDS - 1]


def query_terms(text: str) -> list[str]:
    """Return the distinct terms of a search text. Terms implied by longer ones are left out."""
    terms = set(_normalised_words(text))
    return sorted(term for term in terms if not any(other != term and _implies(other, term) for other in terms))


def query(
    org_id: UUID, text: str, reference_prefix: str, requesters: Mapping[str, Sequence[UUID]] = MappingProxyType({})
) -> str | None:
    """Return a `tsquery` for all terms of a text; `None` if the text contains no words.

    If the text is a number or a reference of a ticket, the query also matches that ticket.

    Args:
        reference_prefix: The part of the organisation's references before the hyphen, such as `GROWFIN`.
        requesters: The requesters whose name or e-mail address matches each term. Their tickets match the term too.
    """
    prefix = _prefix(org_id)
    terms = " & ".join(_format_term(prefix, term, requesters.get(term, ())) for term in query_terms(text))
    if not terms:
        return None
    reference = _REFERENCE.fullmatch(fold(text).strip(_PUNCTUATION))
    if reference and reference[1] in {"", "#", f"{fold(reference_prefix)}-"}:
        return f"{terms} | '{_number_lexeme(prefix, int(reference[2]))}'"
    return terms


def _normalised_words(text: str) -> list[str]:
    return [word[:MAX_WORD_LENGTH] for word in split_words(transliterate(fold(text)))]


def _prefix(org_id: UUID) -> str:
    return org_id.hex[-8:]


def _number_lexeme(prefix: str, number: int) -> str:
    return f"{prefix}#{number}"  # contains a character that no word has


def _requester_lexeme(prefix: str, requester_id: UUID) -> str:
    return f"{prefix}@{requester_id.hex}"


def match_word(term: str, word: str) -> bool:
    """Return whether a word of a requester matches a term, as a lexeme would."""
    return word == term or _implies(word, term)


def word_range(term: str) -> tuple[str, str]:
    """Return the first word that matches a term, and a text behind the last one, in code point order."""
    return term, prefix_upper_bound(term) if len(term) >= MIN_PREFIX_LENGTH else term + "\x01"


def _implies(longer: str, term: str) -> bool:
    return len(term) >= MIN_PREFIX_LENGTH and longer.startswith(term)


def _format_term(prefix: str, term: str, requesters: Sequence[UUID]) -> str:
    # A term consists of letters and digits, so it needs no escaping.
    word = f"'{prefix}{term}'{':*' if len(term) >= MIN_PREFIX_LENGTH else ''}"
    if not requesters:
        return word
    lexemes_of_requesters = (f"'{_requester_lexeme(prefix, one)}'" for one in requesters)
    return f"({' | '.join([word, *lexemes_of_requesters])})"
