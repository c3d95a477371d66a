"""Secrets, tokens and passwords: how they are made and checked. Nothing here reads a database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, TypeVar

from passlib.hash import argon2 as _argon2
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.core.errors import Unavailable

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MIN_DIFFERENT_CHARACTERS = 3
MIN_FACT_LENGTH = 4  # a shorter name or part of one tells nothing about a password
MAX_HASHING = 2  # each takes 64 MiB for as long as it runs
MAX_WAITING = 32

V = TypeVar("V")


# --- passwords -----------------------------------------------------------------------------------

argon2: Any = _argon2  # whose types are not known
_threads = ThreadPoolExecutor(max_workers=MAX_HASHING, thread_name_prefix="password")
_waiting = 0


class Busy(Unavailable):
    """Too many passwords are waiting to be checked."""

    code = "busy"
    title = "Too many users are signing in right now: try again in a moment."


def salt_of(key: str, email: str) -> bytes:
    """The salt of all passwords of an e-mail: 128 bits that nobody can tell without the key.

    One e-mail can have an account in any number of organisations; with one salt, one computation compares them all.
    Otherwise somebody could sign up in many with another's e-mail, and have each of its sign-ins cost as many.
    """
    return hmac.new(key.encode(), b"salt\0" + email.encode(), hashlib.sha256).digest()[:16]


async def hash_password(password: str, salt: bytes) -> str:
    """The argon2id hash of a password, computed off the event loop.

    Raises:
        Busy: too many are waiting already.
    """
    return await _hashing(lambda: str(argon2.using(salt=salt).hash(_normal(password))))


async def fitting(password: str, hashes: Collection[str]) -> set[str]:
    """Those of the hashes that the password fits: one computation for all with one salt, and one where there are none.

    Raises:
        Busy: too many are waiting already.
    """
    alike = {hashed.rpartition("$")[0]: hashed for hashed in hashes} or {"": _hash_of_nothing()}
    made = await asyncio.gather(*(_hashing(partial(_hash_like, password, one)) for one in alike.values()))
    return {hashed for hashed in hashes if any(secrets.compare_digest(hashed, one) for one in made)}


def same_password(one: str, other: str) -> bool:
    """Whether these are typed the same password."""
    return _normal(one) == _normal(other)


def _normal(password: str) -> str:
    # The same characters can be typed as different code points on different keyboards (RFC 8265, 4.2).
    return unicodedata.normalize("NFC", password)


def _hash_like(password: str, hashed: str) -> str:
    """The password's hash with the salt and the costs of another."""
    like = argon2.from_string(hashed)
    costs = {"rounds": like.rounds, "memory_cost": like.memory_cost, "parallelism": like.parallelism}
    return str(argon2.using(salt=like.salt, **costs).hash(_normal(password)))


@lru_cache(maxsize=1)
def _hash_of_nothing() -> str:
    return str(argon2.hash(secrets.token_urlsafe()))


async def _hashing(work: Callable[[], V]) -> V:
    global _waiting  # noqa: PLW0603 - the bound is per process, like the threads
    if _waiting >= MAX_HASHING + MAX_WAITING:
        raise Busy
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work)
    finally:
        _waiting -= 1


def warm_up() -> None:
    """Make the first sign-in as quick as the next ones, and an unknown e-mail as slow as a known one."""
    _hash_of_nothing()
    _common_passwords()


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def password_weakness(password: str, *known: str) -> str | None:
    """Why this password is easily guessed, or `None`. `known` is what everybody knows: names, the e-mail."""
    if password.lower() in _common_passwords() or len(set(password.lower())) < MIN_DIFFERENT_CHARACTERS:
        return "This password is among the most common ones: choose another."
    bare = _bare(password)
    for fact in known:
        parts = {_bare(fact), _bare(fact.partition("@")[0]), _bare(fact.partition(".")[0])}
        if any(len(part) >= MIN_FACT_LENGTH and _is_mostly(bare, part) for part in parts):
            return "This password is too close to a name that others know: choose another."
    return None


def _bare(text: str) -> str:
    """Its letters and digits alone: spaces, dots and capitals make nothing harder to guess."""
    return "".join(character for character in text.lower() if character.isalnum())


def _is_mostly(password: str, part: str) -> bool:
    return part in password and len(password) - len(part) < MIN_FACT_LENGTH
