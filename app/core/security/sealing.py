"""Encrypt what the service must read again, such as the secret that it shares with an authenticator."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.security.derived_keys import derive_key

_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """The content was sealed with another key or for another purpose, or it was changed."""


def seal(secret_key: str, purpose: str, content: bytes) -> bytes:
    """Encrypt and authenticate the content (AES-256-GCM). The result starts with the nonce.

    Args:
        purpose: what the content is, and its owner. Content sealed for one purpose cannot be unsealed for another.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _make_cipher(secret_key, purpose).encrypt(nonce, content, None)


def unseal(secret_key: str, purpose: str, sealed: bytes) -> bytes:
    """Decrypt what `seal` returned.

    Raises:
        CannotUnseal
    """
    try:
        return _make_cipher(secret_key, purpose).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        raise CannotUnseal from None


def _make_cipher(secret_key: str, purpose: str) -> AESGCM:
    return AESGCM(derive_key(secret_key, f"seal {purpose}"))
