"""Recognise passwords that are easy to guess, without a database."""

from __future__ import annotations

from functools import lru_cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MIN_DIFFERENT_CHARACTERS = 3
MIN_FACT_LENGTH = 4  # characters; shorter names, and parts of names, occur in good passwords by chance


@lru_cache(maxsize=1)
def load_common_passwords() -> frozenset[str]:
    """Load the most common passwords, which takes a moment the first time."""
    return frozenset(FREQUENCY_LISTS["passwords"])


def find_password_weakness(password: str, *known_facts: str) -> str | None:
    """Return why a password is easy to guess; `None` if it is not.

    Args:
        known_facts: what others know: the user's names and e-mail address, the organisation's name and domain.
    """
    if password.lower() in load_common_passwords() or len(set(password.lower())) < MIN_DIFFERENT_CHARACTERS:
        return "This password is among the most common ones. Choose another."
    simplified = _simplify(password)
    for fact in known_facts:
        parts = {_simplify(fact), _simplify(fact.partition("@")[0]), _simplify(fact.partition(".")[0])}
        if any(len(part) >= MIN_FACT_LENGTH and _is_mostly(simplified, part) for part in parts):
            return "This password is too close to a name that others know. Choose another."
    return None


def _simplify(text: str) -> str:
    """Keep only letters and digits, in lower case: the rest does not make a password harder to guess."""
    return "".join(character for character in text.lower() if character.isalnum())


def _is_mostly(password: str, part: str) -> bool:
    return part in password and len(password) - len(part) < MIN_FACT_LENGTH
