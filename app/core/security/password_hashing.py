"""Hash and compare passwords, without a database."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection
from functools import lru_cache, partial
from typing import Any

from passlib.hash import argon2 as _argon2

from app.core.security.derived_keys import compute_keyed_hash
from app.core.security.password_preparation import list_forms
from app.core.threads import BoundedThreads

MAX_RUNNING_HASHES = 2  # each takes 64 MiB while it runs
MAX_WAITING_HASHES = 32
_SALT_BYTES = 16

argon2: Any = _argon2  # passlib's types do not know its methods
_threads = BoundedThreads(MAX_RUNNING_HASHES, MAX_WAITING_HASHES)


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
    prepared = list_forms(password)[0]
    return await _threads.run(lambda: str(argon2.using(salt=salt).hash(prepared)))


async def match_hashes(password: str, hashes: Collection[str]) -> set[str]:
    """Return the hashes that the password matches.

    Hashes with the same salt take one computation for each form of the password, of which most passwords have one. An
    empty collection takes as many, so that an unknown e-mail address takes as long as a known one.

    Raises:
        Busy: too many computations are waiting already.
    """
    one_per_salt = {hashed.rpartition("$")[0]: hashed for hashed in hashes} or {"": _dummy_hash()}
    computed = await asyncio.gather(
        *(
            _threads.run(partial(_hash_like, form, hashed))
            for hashed in one_per_salt.values()
            for form in list_forms(password)
        )
    )
    return {hashed for hashed in hashes if any(secrets.compare_digest(hashed, other) for other in computed)}


def is_same_password(password: str, other: str) -> bool:
    """Return whether two typed texts are the same password."""
    return not set(list_forms(password)).isdisjoint(list_forms(other))


def _hash_like(password: str, hashed: str) -> str:
    """Hash the password with the salt and the costs of another hash."""
    like = argon2.from_string(hashed)
    costs = {"rounds": like.rounds, "memory_cost": like.memory_cost, "parallelism": like.parallelism}
    return str(argon2.using(salt=like.salt, **costs).hash(password))


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return str(argon2.hash(secrets.token_urlsafe()))


def warm_up() -> None:
    """Compute what the first sign-in with an unknown address needs, so that it takes as long as every other one."""
    _dummy_hash()
