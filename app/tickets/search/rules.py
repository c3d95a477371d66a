"""The rules of full-text search, as pure functions: lexemes of tickets, and queries.

A lexeme is a word prefixed by its organisation. A search for a common word therefore only reads the organisation's own
part of the index. Organisations whose prefixes collide share that part, but never see each other's tickets.
"""

from __future__ import annotations

import re
from uuid import UUID

from app.core.words import fold, split_words

INDEX_TICKETS = "INDEX_TICKETS"  # the kind of the timer that indexes tickets

# A `tsvector` holds up to a megabyte; the words of a ticket and of its replies must fit together.
MAX_WORDS = 3000
MAX_WORD_LENGTH = 32
MAX_QUERY_TERMS = 8
# Shorter terms match whole words only: as prefixes they would match too many.
MIN_PREFIX_LENGTH = 3

_REFERENCE = re.compile(r"(.*?)([0-9]{1,18})")
# Characters around a reference in the subject of a mail, or in a sentence.
_PUNCTUATION = " [](){}<>'\".,:;!?"
# Letters that Unicode does not decompose into a base letter and an accent.
_TRANSLITERATION = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


def lexemes(org_id: UUID, *texts: str, number: int | None = None) -> list[str]:
    """Return the lexemes of the texts, preceded by that of the ticket's number."""
    unique_words = dict.fromkeys(word for text in texts for word in _normalised_words(text))
    prefix = _prefix(org_id)
    numbers = [] if number is None else [_number_lexeme(prefix, number)]
    return numbers + [prefix + word for word in unique_words][: MAX_WORDS - 1]


def query_terms(text: str) -> list[str]:
    """Return the distinct terms of a search text. Terms implied by longer ones are left out."""
    terms = set(_normalised_words(text))
    return sorted(term for term in terms if not any(other != term and _implies(other, term) for other in terms))


def query(org_id: UUID, text: str, reference_prefix: str) -> str | None:
    """Return a `tsquery` for all terms of a text; `None` if the text contains no words.

    If the text is a number or a reference of a ticket, the query also matches that ticket.

    Args:
        reference_prefix: The part of the organisation's references before the hyphen, such as `GROWFIN`.
    """
    prefix = _prefix(org_id)
    terms = " & ".join(_format_term(prefix, term) for term in query_terms(text))
    if not terms:
        return None
    reference = _REFERENCE.fullmatch(fold(text).strip(_PUNCTUATION))
    if reference and reference[1] in {"", "#", f"{fold(reference_prefix)}-"}:
        return f"{terms} | '{_number_lexeme(prefix, int(reference[2]))}'"
    return terms


def _normalised_words(text: str) -> list[str]:
    return [word[:MAX_WORD_LENGTH] for word in split_words(fold(text).translate(_TRANSLITERATION))]


def _prefix(org_id: UUID) -> str:
    return org_id.hex[-8:]


def _number_lexeme(prefix: str, number: int) -> str:
    return f"{prefix}#{number}"  # contains a character that no word has


def _implies(longer: str, term: str) -> bool:
    return len(term) >= MIN_PREFIX_LENGTH and longer.startswith(term)


def _format_term(prefix: str, term: str) -> str:
    # A term consists of letters and digits, so it needs no escaping.
    return f"'{prefix}{term}'{':*' if len(term) >= MIN_PREFIX_LENGTH else ''}"
