"""Keys that a person may have made up are refused; random ones never are."""

from __future__ import annotations

import base64
import secrets
import uuid
from collections.abc import Callable

import pytest

from app.core.key_strength import estimate_bits, find_secret_key_weakness

RANDOM_KEYS_PER_KIND = 4000  # 100,000 of each were tried once
PASSPHRASE = "correct horse battery staple lamp correct horse battery staple lamp"

WEAK_KEYS = [
    "0123456789" * 4,
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba9876543210",
    "password1234" * 3,
    "P@ssw0rd!" * 4,
    "qwertyuiopasdfghjklzxcvbnm123456",
    "qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,",
    PASSPHRASE,
    PASSPHRASE.replace(" ", ""),
    PASSPHRASE.title().replace(" ", "-"),
    "2024-01-01 2024-01-02 2024-01-03 2024-01-04",
    "1990-12-24/1991-03-05/2004-07-19",
    "24.12.1990, 05.03.1991, 19.07.2004",
    "01012024" * 4,
    "a" * 64,
    "ab" * 20,
    "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6",
    "00010002000300040005000600070008",
    "112233445566778899aabbccddeeff00",
    "deadbeef" * 8,
    "tessera-production-signing-key-2024",
    "my-super-secret-key-for-jwt-tokens-2024",
    "supersecretkeythatnobodywillguess2026",
    "thisisaverylongsecretkeythatisnotsafe2025",
    "mycompanysupersecretjwtsigningkey2026",
    "31415926535897932384626433832795028841971",
    "3.14159265358979323846264338327950288",
    "2.718281828459045235360287471352662",
    "1.4142135623730950488016887242096980785",
    "243F6A8885A308D313198A2E03707344A4093822299F31D0",
    "the quick brown fox jumps over the lazy dog",
    "00000000-0000-0000-0000-000000000000",
    "пароль" * 8,
]


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("key", WEAK_KEYS)
def test_a_key_that_follows_a_pattern_is_refused(key: str) -> None:
    assert (find_secret_key_weakness(key) or "").startswith("is ")


@pytest.mark.parametrize("key", WEAK_KEYS[:10])
def test_encoding_a_weak_key_does_not_make_it_strong(key: str) -> None:
    for encoded in (encode(key), encode(encode(key)), encode(key).rstrip("="), key.encode().hex()):
        assert find_secret_key_weakness(encoded), encoded


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode_bytes(32),
        lambda: encode_bytes(48),
        lambda: secrets.token_urlsafe(32),
        lambda: secrets.token_hex(32),
        lambda: secrets.token_hex(16).upper(),
        lambda: base64.b32encode(secrets.token_bytes(32)).decode(),
        lambda: str(uuid.uuid4()),
    ],
    ids=["base64", "base64 of 48 bytes", "urlsafe", "hex", "16 bytes in hex", "base32", "uuid"],
)
def test_random_keys_are_never_refused(make: Callable[[], str]) -> None:
    assert [key for key in (make() for _ in range(RANDOM_KEYS_PER_KIND)) if find_secret_key_weakness(key)] == []


def encode_bytes(count: int) -> str:
    return base64.b64encode(secrets.token_bytes(count)).decode()


def test_a_word_of_sample_keys_within_a_random_key_does_no_harm() -> None:
    assert find_secret_key_weakness(f"{secrets.token_hex(16)}your-{secrets.token_urlsafe(32)}") is None
    assert "sample key" in (find_secret_key_weakness(f"please-changeme-{secrets.token_urlsafe(32)}") or "")


def test_short_keys_are_refused_however_random() -> None:
    assert find_secret_key_weakness(secrets.token_hex(15)) == "needs at least 32 bytes"


def test_a_key_of_any_length_takes_a_moment() -> None:
    assert estimate_bits("a" * 100_000) < 90
    assert estimate_bits("ab1" * 100_000) < 90
