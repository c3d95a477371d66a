"""Password hashes that are fast to verify."""

from __future__ import annotations

from functools import cache

from passlib.context import CryptContext


@cache
def cheap_hash(password: str) -> str:
    """Return a valid hash with minimal cost parameters."""
    cheap = CryptContext(["argon2"], argon2__rounds=1, argon2__memory_cost=64, argon2__parallelism=1)
    return str(cheap.hash(password))
