"""Telephone numbers in a text, in the forms that find them: by the last digits, and with or without the country."""

from __future__ import annotations

import re
from collections.abc import Iterator

# E.164 allows 15 digits; a country's prefix of calls abroad adds two.
MIN_DIGITS, MAX_DIGITS = 7, 17
MIN_LAST_DIGITS = 4
MIN_FIRST_DIGITS = 6

# Digits in groups, as people separate those of telephone numbers. They are not a part of a word, such as `covid-19`.
NUMBER = re.compile(r"(?<![a-z0-9])(?<![a-z0-9]-)[+(]{0,2}[0-9](?:[ ()./\u2010\u2013\u2212-]{0,3}[0-9])*(?![a-z0-9])")
_DIGITS = re.compile("[0-9]+")
_OPTIONAL_TRUNK_PREFIX = re.compile(r"\(0\)")
# Country codes of one and of two digits (ITU-T E.164); all others have three.
_COUNTRY_CODE = re.compile("[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3}")


def find_suffixes(number: str) -> list[str]:
    """Return what is stored of a telephone number: its digits from each group on, with and without the country code."""
    found: dict[str, None] = {}
    for groups in _forms(number):
        if MIN_DIGITS <= len("".join(groups)) <= MAX_DIGITS:
            found |= dict.fromkeys("".join(groups[place:]) for place in range(len(groups)))
    return [digits for digits in found if len(digits) >= MIN_FIRST_DIGITS]


def find_beginnings(number: str) -> list[str]:
    """Return the digits that a search for a number, or for its first part, looks for: the beginnings of suffixes."""
    found = dict.fromkeys("".join(groups) for groups in _forms(number))
    return [digits for digits in found if MIN_FIRST_DIGITS <= len(digits) <= MAX_DIGITS]


def reverse_digits(number: str, *, min_digits: int) -> str | None:
    """Return the digits in reverse: those of the last part begin those of the number. `None` if they are too few."""
    digits = "".join(_DIGITS.findall(number))
    return digits[::-1] if min_digits <= len(digits) <= MAX_DIGITS else None


def _forms(number: str) -> Iterator[list[str]]:
    """Yield the groups of digits of each way to write the number: `+49 (0)89 12` is also `+49 89 12` and `089 12`."""
    written = [number]
    if _OPTIONAL_TRUNK_PREFIX.search(number):
        written = [_OPTIONAL_TRUNK_PREFIX.sub(" ", number, count=1), number]
    for form in written:
        groups = _DIGITS.findall(form)
        if not groups:
            continue
        yield groups
        is_international = "+" in form[:2]
        if groups[0].startswith("00"):
            groups, is_international = [groups[0][2:], *groups[1:]], True
            yield [group for group in groups if group]
        if is_international and (code := _COUNTRY_CODE.match("".join(groups))):
            # The national form: behind the country code, with the prefix of calls within most countries.
            rest = _skip_digits(groups, code.end())
            if rest and not rest[0].startswith("0"):
                yield ["0" + rest[0], *rest[1:]]
            elif rest:
                yield rest


def _skip_digits(groups: list[str], count: int) -> list[str]:
    rest = []
    for group in groups:
        if kept := group[count:]:
            rest.append(kept)
        count = max(0, count - len(group))
    return rest
