"""Hash and compare passwords, and recognise weak ones. Nothing here reads a database."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Collection
from functools import lru_cache, partial
from typing import Any

from passlib.hash import argon2 as _argon2
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.core.security.derived_keys import compute_keyed_hash
from app.core.threads import BoundedThreads

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MIN_DIFFERENT_CHARACTERS = 3
MIN_FACT_LENGTH = 4  # characters; shorter names, and parts of names, occur in good passwords by chance
MAX_RUNNING_HASHES = 2  # each takes 64 MiB while it runs
MAX_WAITING_HASHES = 32
_SALT_BYTES = 16

argon2: Any = _argon2  # passlib's types do not know its methods
_threads = BoundedThreads(MAX_RUNNING_HASHES, MAX_WAITING_HASHES)


# --- hashing ---------------------------------------------------------------------------------------------------------


def derive_salt(secret_key: str, email: str) -> bytes:
    """Derive the salt of all passwords of an e-mail address: 128 bits that cannot be computed without the key.

    One address can have accounts in many organisations. With a shared salt, one computation compares the password with
    all of them. With a salt per account, an attacker could sign up in many organisations with another user's address.
    Every sign-in of that user would then cost one computation per organisation.
    """
    return compute_keyed_hash(secret_key, "password salt", email.encode())[:_SALT_BYTES]


async def hash_password(password: str, salt: bytes) -> str:
    """Compute the argon2id hash of a password in a thread.

    Raises:
        Busy: too many computations are waiting already.
    """
    return await _threads.run(lambda: str(argon2.using(salt=salt).hash(_normalize(password))))


async def match_hashes(password: str, hashes: Collection[str]) -> set[str]:
    """Return the hashes that the password matches.

    Hashes with the same salt take one computation. An empty collection takes one as well, so that an unknown e-mail
    address takes as long as a known one.

    Raises:
        Busy: too many computations are waiting already.
    """
    one_per_salt = {hashed.rpartition("$")[0]: hashed for hashed in hashes} or {"": _dummy_hash()}
    computed = await asyncio.gather(
        *(_threads.run(partial(_hash_like, password, hashed)) for hashed in one_per_salt.values())
    )
    return {hashed for hashed in hashes if any(secrets.compare_digest(hashed, other) for other in computed)}


def is_same_password(password: str, other: str) -> bool:
    """Return whether two typed texts are the same password."""
    return _normalize(password) == _normalize(other)


def _normalize(password: str) -> str:
    # Keyboards produce different code points for the same character (RFC 8265, 4.2).
    return unicodedata.normalize("NFC", password)


def _hash_like(password: str, hashed: str) -> str:
    """Hash the password with the salt and the costs of another hash."""
    like = argon2.from_string(hashed)
    costs = {"rounds": like.rounds, "memory_cost": like.memory_cost, "parallelism": like.parallelism}
    return str(argon2.using(salt=like.salt, **costs).hash(_normalize(password)))


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return str(argon2.hash(secrets.token_urlsafe()))


def warm_up() -> None:
    """Compute and load what the first sign-in needs, so that it takes as long as every other one."""
    _dummy_hash()
    _load_common_passwords()


# --- weak passwords --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _load_common_passwords() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def find_password_weakness(password: str, *known_facts: str) -> str | None:
    """Return why a password is easy to guess; `None` if it is not.

    Args:
        known_facts: what others know: the user's names and e-mail address, the organisation's name and domain.
    """
    if password.lower() in _load_common_passwords() or len(set(password.lower())) < MIN_DIFFERENT_CHARACTERS:
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
