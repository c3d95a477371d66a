"""Estimate how many bits an attacker must guess to find a key that a person may have made up.

The key is read as the shortest description that an attacker would try: words, dates, sequences, rows of the keyboard,
repetitions of what came before, and characters that none of these explain. Each costs the bits that tell it from the
others of its kind. Random keys consist of single characters nearly wholly.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import takewhile

from zxcvbn.adjacency_graphs import ADJACENCY_GRAPHS
from zxcvbn.frequency_lists import FREQUENCY_LISTS

MIN_KEY_BYTES = 32
MIN_KEY_BITS = 90  # 16 random bytes in hex have 128
# The beginnings of sample keys, which are public. Anyone who knows such a key can sign tokens with it. A random key may
# have one of these words further on.
_SAMPLE = re.compile(r"([a-z]{2,10}[-_ ])*(change-?me|secret|example|sample|your-|replace)", re.IGNORECASE)

_MIN_LENGTH = 4  # of all but single characters; shorter ones occur in random keys by chance
_MAX_WORD_LENGTH = 20
_CAPITALS_BITS = 1.0
_DATE_BITS = 15.0
_SEQUENCE_BITS = 10.0
_LAGS = (2, 3, 4)  # of sequences such as a1b2c3 and 001002003
_REPETITION_BITS = 8.0
_WALK_BITS, _TURN_BITS = 7.0, 2.0  # along the keys of a keyboard
_YEAR_BITS = 7.0
_YEAR = re.compile(r"(19|20)\d\d")
_CONSTANT_BITS = 10.0  # pi, e and the like
_CONSTANT_DIGITS = 200
_MIN_CONSTANT_LENGTH = 8
_SEPARATOR_BITS = 1.0  # one that occurred before
_DATE = re.compile(r"(19|20)\d\d([-/. ]?)(0[1-9]|1[0-2])\2[0-3]\d|[0-3]\d([-/. ]?)(0[1-9]|1[0-2])\4(19|20)\d\d")
_LEET = str.maketrans("0134578@$!", "oieastbasi")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
# A word of one to three letters between other characters. Inside of longer runs of letters, they occur by chance.
_SHORT_WORD = re.compile(r"(?<![^\W_])[a-z]{1,3}(?![^\W_])")
_SHORT_WORD_BITS = 7.0
_SHORT_LENGTH = 3  # of a short word that follows another word directly
_MAX_SHORT_RANK = 1000
_MAX_JOINED_WORDS = 3
_MAX_ENCODINGS = 3


def find_secret_key_weakness(key: str) -> str | None:
    """Return why the key is too weak to sign tokens, such as `needs at least 32 bytes`; `None` if it is strong."""
    if len(key.encode()) < MIN_KEY_BYTES:
        return f"needs at least {MIN_KEY_BYTES} bytes"
    if _SAMPLE.match(key):
        return "is a sample key: generate one with `openssl rand -base64 48`"
    if estimate_bits(key) < MIN_KEY_BITS:
        return "is too easy to guess: generate one with `openssl rand -base64 48`"
    return None


def estimate_bits(key: str) -> float:
    """Estimate the bits of a key, also of a text that it encodes. Beyond `MIN_KEY_BITS` it stops counting."""
    return min(_count_bits(text) for text in _decode(key))


def _decode(key: str) -> Iterator[str]:
    """Yield the key, and the texts that it encodes in base64 or hex."""
    texts = [key]
    for _ in range(_MAX_ENCODINGS):
        yield from texts
        texts = [decoded for text in texts for decoded in _decode_once(text)]


def _decode_once(text: str) -> Iterator[str]:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    for decode, encoded in (
        (base64.urlsafe_b64decode, padded.replace("+", "-").replace("/", "_")),
        (bytes.fromhex, text),
    ):
        try:
            decoded = decode(encoded).decode("ascii")
        except (ValueError, binascii.Error):
            continue
        if decoded.strip().isprintable() and decoded:
            yield decoded


def _count_bits(text: str) -> float:
    """Read the text from the left, each time as the part that saves most bits over its single characters."""
    lower, character_bits = text.lower(), _character_bits(text)
    position, bits, starts = 0, 0.0, dict[str, int]()
    while position < len(text) and bits < MIN_KEY_BITS:
        length, cost = 1, character_bits
        if not text[position].isalnum() and text[position] in text[:position]:
            cost = min(cost, _SEPARATOR_BITS)
        for part, part_bits in _find_parts(text, lower, position, starts):
            if part_bits - part * character_bits < cost - length * character_bits:
                length, cost = part, part_bits
        for start in range(max(0, position - _MIN_LENGTH + 1), position + length - _MIN_LENGTH + 1):
            starts.setdefault(lower[start : start + _MIN_LENGTH], start)
        position, bits = position + length, bits + cost
    return bits


def _character_bits(text: str) -> float:
    """Return the bits of a character that no part explains."""
    different = set(text)
    is_hex = different <= _HEX_DIGITS and len(different) >= len(_HEX_DIGITS) // 2
    return 4.0 if is_hex else math.log2(max(2, len(different)))


def _find_parts(text: str, lower: str, position: int, starts: dict[str, int]) -> Iterator[tuple[int, float]]:
    """Yield the parts that start here, as (length, bits)."""
    if word := _SHORT_WORD.match(lower, position):
        yield len(word[0]), _SHORT_WORD_BITS
    four = lower[position : position + _MIN_LENGTH]
    if len(four) < _MIN_LENGTH:
        return
    if four in starts:
        yield _measure_repetition(lower, starts[four], position), _REPETITION_BITS
    yield from _find_sequences(text, position)
    if four[0].isdigit() and (date := _DATE.match(text, position)):
        yield len(date[0]), _DATE_BITS
    if _YEAR.match(text, position):
        yield _MIN_LENGTH, _YEAR_BITS
    if (length := _measure_constant(lower, position)) >= _MIN_CONSTANT_LENGTH:
        yield length, _CONSTANT_BITS
    length, turns = _measure_walk(text, position)
    if length >= _MIN_LENGTH:
        yield length, _WALK_BITS + _TURN_BITS * turns
    for plain in (lower, lower.translate(_LEET)):
        if plain[position : position + _MIN_LENGTH] in _words().beginnings:
            yield from _find_words(plain, position)


def _find_sequences(text: str, position: int) -> Iterator[tuple[int, float]]:
    first, second, third, fourth = (ord(character) for character in text[position : position + _MIN_LENGTH])
    if third - second == second - first == fourth - third:
        yield _measure_sequence(text, position, 1), _SEQUENCE_BITS
    else:
        for lag in _LAGS:
            if (length := _measure_sequence(text, position, lag)) >= 2 * lag + _MIN_LENGTH:
                yield length, _SEQUENCE_BITS * lag


def _measure_repetition(lower: str, earlier: int, position: int) -> int:
    length = 0
    while position + length < len(lower) and lower[earlier + length] == lower[position + length]:
        length += 1
    return length


def _measure_sequence(text: str, start: int, lag: int) -> int:
    """Return for how many characters each differs from the one `lag` before it by the same, as in abcd or a1b2c3."""
    end = start + 2 * lag
    while end < len(text) and ord(text[end]) - ord(text[end - lag]) == ord(text[end - lag]) - ord(text[end - 2 * lag]):
        end += 1
    return end - start


def _measure_walk(text: str, start: int) -> tuple[int, int]:
    """Return how many keys next to each other are pressed from here on, and how often the direction changes."""
    directions, end, turns, last = _directions(), start + 1, 0, -1
    while end < len(text) and (direction := directions.get(text[end - 1 : end + 1], -1)) >= 0:
        turns += direction != last
        end, last = end + 1, direction
    return end - start, turns


def _measure_constant(lower: str, position: int) -> int:
    """Return for how many characters the text is the beginning of a well-known number."""
    beginning = lower[position : position + _MIN_CONSTANT_LENGTH]
    for digits in _constants():
        if digits.startswith(beginning):
            pairs = zip(digits, lower[position : position + len(digits)], strict=False)
            return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return 0


def _find_words(plain: str, position: int, more: int = _MAX_JOINED_WORDS - 1) -> Iterator[tuple[int, float]]:
    """Yield the words that start here, alone and with those that follow them without a separator.

    Short words count only after another one: elsewhere they occur by chance.
    """
    words = _words()
    for length in range(_MIN_LENGTH, min(len(plain) - position, _MAX_WORD_LENGTH) + 1):
        if (bits := words.bits.get(plain[position : position + length])) is not None:
            yield from _join_words(plain, position, length, bits + _CAPITALS_BITS, more)
    if more < _MAX_JOINED_WORDS - 1 and plain[position : position + _SHORT_LENGTH] in words.short:
        yield from _join_words(plain, position, _SHORT_LENGTH, _SHORT_WORD_BITS, more)


def _join_words(plain: str, position: int, length: int, bits: float, more: int) -> Iterator[tuple[int, float]]:
    yield length, bits
    if more:
        for next_length, next_bits in _find_words(plain, position + length, more - 1):
            yield length + next_length, bits + next_bits


class _Words:
    """Common words, names and passwords, with the bits of their rank."""

    def __init__(self) -> None:
        self.bits: dict[str, float] = {}
        for ranked in FREQUENCY_LISTS.values():
            for rank, word in enumerate(ranked, 1):
                if _MIN_LENGTH <= len(word) <= _MAX_WORD_LENGTH:
                    self.bits[word] = min(math.log2(rank), self.bits.get(word, math.inf))
        self.short = {
            word
            for ranked in FREQUENCY_LISTS.values()
            for word in ranked[:_MAX_SHORT_RANK]
            if len(word) == _SHORT_LENGTH and word.isalpha()
        } | {"key", "jwt", "api"}
        self.beginnings = {word[:_MIN_LENGTH] for word in self.bits}


@lru_cache(maxsize=1)
def _words() -> _Words:
    return _Words()


@lru_cache(maxsize=1)
def _constants() -> tuple[str, ...]:
    """Return the digits of pi (also in hexadecimal), e, the golden ratio and square roots, with and without the first.

    What an attacker tries begins there.
    """
    with localcontext() as context:
        context.prec = _CONSTANT_DIGITS + 20
        pi, e, five = _compute_pi(), Decimal(1).exp(), Decimal(5).sqrt()
        numbers = [pi, 2 * pi, e, (1 + five) / 2, Decimal(2).sqrt(), Decimal(3).sqrt(), five]
        decimals = [str(number).replace(".", "")[:_CONSTANT_DIGITS] for number in numbers]
        hexadecimal = f"{int(pi * 16**_CONSTANT_DIGITS):x}"[: _CONSTANT_DIGITS // 2]
    return tuple(text[start:] for text in (*decimals, hexadecimal) for start in (0, 1))


def _compute_pi() -> Decimal:
    """Compute pi by Machin's formula, in the precision of the context."""

    def arctan_of_inverse(number: int) -> Decimal:
        total, power, divisor = Decimal(0), Decimal(1) / number, 1
        while total != (total := total + power / divisor):
            power, divisor = -power / (number * number), divisor + 2
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))


@lru_cache(maxsize=1)
def _directions() -> dict[str, int]:
    """Return the direction of each pair of characters that are next to each other on a keyboard."""
    found: dict[str, int] = {}
    for name in ("qwerty", "keypad"):
        for character, neighbours in ADJACENCY_GRAPHS[name].items():
            for direction, keys in enumerate(neighbours):
                found |= {character + key: direction for key in keys or ""}
    return found
