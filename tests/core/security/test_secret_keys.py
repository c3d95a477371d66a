"""Secret keys of organisations: their form, checksum and stored hash."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.security.secret_keys import generate_secret_key, hash_secret_key, is_secret_key


def test_a_secret_key_is_a_prefix_and_48_base62_characters() -> None:
    secrets = {generate_secret_key() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("tsk_")
        assert len(secret) == 52
        assert secret[4:].isalnum()
        assert secret.isascii()
        assert is_secret_key(secret)


def test_any_single_typing_error_is_detected() -> None:
    secret = generate_secret_key()
    for place in range(len(secret)):
        for other in "0Az-é":
            if secret[place] != other:
                assert not is_secret_key(secret[:place] + other + secret[place + 1 :])
    for pair in range(4, 51):
        swapped = secret[:pair] + secret[pair + 1] + secret[pair] + secret[pair + 2 :]
        assert swapped == secret or not is_secret_key(swapped)


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(min_size=48, max_size=48).map("tsk_".__add__)))
def test_other_texts_are_not_secret_keys(text: str) -> None:
    assert not is_secret_key(text)


def test_the_stored_hash_is_sha_256() -> None:
    assert hash_secret_key("tsk_x") == hashlib.sha256(b"tsk_x").digest()
