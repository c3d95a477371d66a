"""Show the texts of others in mails: shortened, and with their own direction.

A mail is in English, which is written from left to right. The direction of a title, a name or a message is not known.
HTML has `dir="auto"` for blocks. Plain text, subjects and inline text have isolates (UAX #9): the characters U+2068 and
U+2069 around a text keep its direction, and the direction marks in it, from the text beside it.
"""

from __future__ import annotations

import re
import unicodedata

import regex

from app.notifications.mime import to_one_line

FIRST_STRONG_ISOLATE = "\u2068"
POP_ISOLATE = "\u2069"
_ISOLATE_INITIATORS = "\u2066\u2067\u2068"
_ISOLATES = re.compile("[\u2066-\u2069]")
_LINE = re.compile("[^\n\u2029]+")
# Bidirectional classes of characters that can change how the text beside them is ordered.
_DIRECTED_CLASSES = frozenset({"R", "AL", "AN", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_GRAPHEME = regex.compile(r"\X")
ELLIPSIS = "…"


def shorten(text: str, limit: int) -> str:
    """Return at most the first `limit` characters of a text, with an ellipsis if that is not all.

    The cut is between two graphemes, so that it divides no emoji and takes no accent from its letter. It may divide a
    word: some languages have no spaces, and some words are as long as a URL. It divides a grapheme only if the first
    one is longer than `limit`: a letter can have any number of accents.
    """
    if len(text) <= limit:
        return text
    end = 0
    for grapheme in _GRAPHEME.finditer(text):
        if grapheme.end() > limit:
            break
        end = grapheme.end()
    return text[: end or limit].rstrip() + ELLIPSIS


def isolate(text: str) -> str:
    """Convert a text to one line, and isolate it if it is not plainly left-to-right."""
    return _isolate_line(to_one_line(text))


def isolate_lines(text: str) -> str:
    """Isolate each line of a text that is not plainly left-to-right. The end of a line ends all isolates."""
    return _LINE.sub(lambda line: _isolate_line(line[0]), text)


def _isolate_line(line: str) -> str:
    if not any(unicodedata.bidirectional(character) in _DIRECTED_CLASSES for character in line):
        return line
    return f"{FIRST_STRONG_ISOLATE}{_balance_isolates(line)}{POP_ISOLATE}"


def _balance_isolates(line: str) -> str:
    """Remove the isolates' ends that have no beginning, and add those that are missing.

    Otherwise a text could end the isolate around it, or keep it from ending.
    """
    depth = 0

    def balance(found: re.Match[str]) -> str:
        nonlocal depth
        if found[0] in _ISOLATE_INITIATORS:
            depth += 1
            return found[0]
        if depth == 0:
            return ""
        depth -= 1
        return found[0]

    balanced = _ISOLATES.sub(balance, line)
    return balanced + POP_ISOLATE * depth
