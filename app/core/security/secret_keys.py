"""Generate, check and hash the secret keys of organisations."""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

SECRET_PREFIX = "tsk_"  # noqa: S105 - the public part
SECRET_LENGTH = 48
_CHECKSUM_LENGTH = 6  # 62^6 is more than 2^32, so a CRC-32 fits
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def generate_secret_key() -> str:
    """Generate a secret key: `tsk_`, 42 random characters (250 bits), and a checksum of 6 characters."""
    body = "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH - _CHECKSUM_LENGTH))
    return SECRET_PREFIX + body + _compute_checksum(body)


def is_secret_key(text: str) -> bool:
    """Return whether a text has the form of a secret key. Scanners for leaked keys can verify its checksum too."""
    if len(text) != len(SECRET_PREFIX) + SECRET_LENGTH or not text.startswith(SECRET_PREFIX) or not text.isascii():
        return False
    body, checksum = text[len(SECRET_PREFIX) : -_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    return body.isalnum() and secrets.compare_digest(checksum, _compute_checksum(body))


def _compute_checksum(body: str) -> str:
    number, digits = zlib.crc32((SECRET_PREFIX + body).encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_BASE62))
        digits = _BASE62[digit] + digits
    return digits


def hash_secret_key(secret: str) -> bytes:
    """Compute the stored SHA-256 of a secret key. The key has 250 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()
