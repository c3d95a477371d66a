"""Encryption of what we must be able to read again, such as the secret that an authenticator shares with us."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class CannotOpen(Exception):
    """It was not sealed with this key for this purpose, or it has been changed."""


def seal(key: str, purpose: str, content: bytes) -> bytes:
    """The content encrypted and authenticated (AES-256-GCM), with its nonce.

    Args:
        key: the service's secret key, of which one for the purpose is made.
        purpose: what it is, and whose: nothing sealed for one purpose opens for another.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_key_for(key, purpose)).encrypt(nonce, content, None)


def unseal(key: str, purpose: str, sealed: bytes) -> bytes:
    """The content of what `seal` made.

    Raises:
        CannotOpen
    """
    try:
        return AESGCM(_key_for(key, purpose)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def _key_for(key: str, purpose: str) -> bytes:
    return hmac.new(key.encode(), b"seal\0" + purpose.encode(), hashlib.sha256).digest()
