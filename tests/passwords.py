"""Passwords that are compared in no time."""

from __future__ import annotations

from functools import cache

from passlib.context import CryptContext


@cache
def cheap_hash(password: str) -> str:
    """A good hash of it, at next to no cost."""
    cheap = CryptContext(["argon2"], argon2__rounds=1, argon2__memory_cost=64, argon2__parallelism=1)
    return str(cheap.hash(password))
