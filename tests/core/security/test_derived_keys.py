"""Keys derived from the service's secret key."""

from __future__ import annotations

from app.core.security.derived_keys import compute_keyed_hash, derive_key


def test_a_key_is_the_same_each_time() -> None:
    assert derive_key("secret", "cursor") == derive_key("secret", "cursor")
    assert len(derive_key("secret", "cursor")) == 32


def test_another_purpose_and_another_secret_key_give_another_key() -> None:
    keys = {derive_key("secret", "cursor"), derive_key("secret", "salt"), derive_key("another", "cursor")}
    assert len(keys) == 3


def test_a_keyed_hash_depends_on_key_purpose_and_message() -> None:
    hashes = {
        compute_keyed_hash("secret", "cursor", b"message"),
        compute_keyed_hash("another", "cursor", b"message"),
        compute_keyed_hash("secret", "salt", b"message"),
        compute_keyed_hash("secret", "cursor", b"another"),
    }
    assert len(hashes) == 4
