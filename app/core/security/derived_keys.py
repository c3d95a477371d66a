"""Keys derived from the service's secret key, one for each purpose.

A signature, hash or ciphertext made for one purpose is not valid for another. No derived key reveals the secret key.
"""

from __future__ import annotations

import hmac


def derive_key(secret_key: str, purpose: str) -> bytes:
    """Derive the key for one purpose: 256 bits.

    Args:
        secret_key: the service's `SECRET_KEY`.
        purpose: a text that no other use of the secret key has, such as `cursor`.
    """
    return hmac.digest(secret_key.encode(), purpose.encode(), "sha256")


def compute_keyed_hash(secret_key: str, purpose: str, message: bytes) -> bytes:
    """Compute the HMAC-SHA256 of a message with the key for a purpose: 32 bytes, for signatures and stored hashes."""
    return hmac.digest(derive_key(secret_key, purpose), message, "sha256")
