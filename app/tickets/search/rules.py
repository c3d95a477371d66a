"""What words a ticket is found by, and what is looked for, as pure functions.

A lexeme is a word after its organisation's prefix: so that a word that all organisations use does not read the others'
part of the index. Two organisations that happen to share a prefix share no more than that part.
"""

from __future__ import annotations

import re
from uuid import UUID

from app.core.words import fold, words

INDEX_TICKETS = "INDEX_TICKETS"

# What fits into PostgreSQL's `tsvector`, of a megabyte, twice: of a ticket, and of the answers to it.
MAX_WORDS = 3000
MAX_WORD_LENGTH = 32
MAX_WORDS_WANTED = 8
# A shorter word is looked for as it is: too many begin so.
SHORTEST_BEGINNING = 3

_NUMBER = re.compile(r"(.*?)([0-9]{1,18})")
# What stands around a reference in a mail's subject or in a sentence.
_AROUND = " [](){}<>'\".,:;!?"
# Letters that are not made of another one and an accent.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)


def lexemes(org_id: UUID, *texts: str, number: int | None = None) -> list[str]:
    """What the texts are found by, and the ticket's number with it."""
    found = dict.fromkeys(word for text in texts for word in _words(text))
    prefix = _prefix(org_id)
    numbers = [] if number is None else [_numbered(prefix, number)]
    return numbers + [prefix + word for word in found][: MAX_WORDS - 1]


def words_wanted(text: str) -> list[str]:
    """The words that are looked for, each once. What a longer one implies is left out."""
    cut = set(_words(text))
    return sorted(word for word in cut if not any(other != word and _implies(other, word) for other in cut))


def query(org_id: UUID, text: str, reference_prefix: str) -> str | None:
    """A `tsquery`: all the words, or the ticket whose number or reference the text is; `None` where it has no word.

    Args:
        reference_prefix: what stands before the hyphen in the organisation's references, such as `GROWFIN`.
    """
    prefix = _prefix(org_id)
    wanted = " & ".join(_term(prefix, word) for word in words_wanted(text))
    if not wanted:
        return None
    named = _NUMBER.fullmatch(fold(text).strip(_AROUND))
    if named and named[1] in {"", "#", f"{fold(reference_prefix)}-"}:
        return f"{wanted} | '{_numbered(prefix, int(named[2]))}'"
    return wanted


def _words(text: str) -> list[str]:
    return [word[:MAX_WORD_LENGTH] for word in words(fold(text).translate(_PLAIN))]


def _prefix(org_id: UUID) -> str:
    return org_id.hex[-8:]


def _numbered(prefix: str, number: int) -> str:
    return f"{prefix}#{number}"  # as no word is


def _implies(longer: str, word: str) -> bool:
    return len(word) >= SHORTEST_BEGINNING and longer.startswith(word)


def _term(prefix: str, word: str) -> str:
    # A word is letters and digits: nothing in it could end the quotes.
    return f"'{prefix}{word}'{':*' if len(word) >= SHORTEST_BEGINNING else ''}"
