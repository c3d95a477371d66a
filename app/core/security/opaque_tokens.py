"""Opaque tokens: refresh tokens, and the tokens of links in mails.

A token holds the ids of an organisation and of one of its rows, and ends in a signature. A forged one is therefore
refused without a query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

from app.core.security.derived_keys import compute_keyed_hash

REFRESH_PREFIX = "trt_"
LINK_PREFIX = "tlt_"

_ID_BYTES = 16
_RANDOM_BYTES = 24
_SIGNATURE_BYTES = 25  # makes the whole a multiple of three bytes, which needs no padding in base 64


@dataclass(frozen=True)
class TokenSubject:
    """The row that a token refers to."""

    org_id: UUID
    id: UUID


# --- refresh tokens --------------------------------------------------------------------------------------------------


def make_refresh_token(secret_key: str, org_id: UUID, session_id: UUID) -> str:
    """Make the first refresh token of a session."""
    return _encode_refresh_token(secret_key, org_id, session_id, secrets.token_bytes(_RANDOM_BYTES))


def make_next_refresh_token(secret_key: str, token: str) -> str:
    """Make the successor of a refresh token. It is always the same, so a retry gets the same token again.

    Raises:
        ValueError: the token is not a refresh token of this service.
    """
    subject = read_refresh_token(secret_key, token)
    successor = compute_keyed_hash(secret_key, "refresh token successor", token.encode())[:_RANDOM_BYTES]
    return _encode_refresh_token(secret_key, subject.org_id, subject.id, successor)


def read_refresh_token(secret_key: str, token: str) -> TokenSubject:
    """Verify a refresh token and return its session.

    Raises:
        ValueError: the token is not a refresh token of this service.
    """
    return _decode(secret_key, REFRESH_PREFIX, token, extra_bytes=_RANDOM_BYTES)


def _encode_refresh_token(secret_key: str, org_id: UUID, session_id: UUID, unique_part: bytes) -> str:
    return _encode(secret_key, REFRESH_PREFIX, UUID(str(org_id)).bytes + UUID(str(session_id)).bytes + unique_part)


def hash_token(token: str) -> bytes:
    """Compute the SHA-256 of a token, which the database stores instead of the token."""
    return hashlib.sha256(token.encode()).digest()


# --- links in mails --------------------------------------------------------------------------------------------------


def make_link_token(secret_key: str, org_id: UUID, link_id: UUID) -> str:
    """Make the token of a link. It is the same each time, so it is stored nowhere."""
    return _encode(secret_key, LINK_PREFIX, UUID(str(org_id)).bytes + UUID(str(link_id)).bytes)


def read_link_token(secret_key: str, token: str) -> TokenSubject:
    """Verify the token of a link and return the link.

    Raises:
        ValueError: the token is not the token of a link of this service.
    """
    return _decode(secret_key, LINK_PREFIX, token, extra_bytes=0)


# --- encoding --------------------------------------------------------------------------------------------------------


def _encode(secret_key: str, prefix: str, payload: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(payload + _sign(secret_key, prefix, payload)).decode()


def _decode(secret_key: str, prefix: str, token: str, *, extra_bytes: int) -> TokenSubject:
    if not token.startswith(prefix) or not token.isascii():
        raise ValueError("not a token of this kind")
    try:
        signed = base64.b64decode(token[len(prefix) :], altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    payload, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
    if len(payload) != 2 * _ID_BYTES + extra_bytes or not hmac.compare_digest(
        signature, _sign(secret_key, prefix, payload)
    ):
        raise ValueError("not signed by this service")
    return TokenSubject(UUID(bytes=payload[:_ID_BYTES]), UUID(bytes=payload[_ID_BYTES : 2 * _ID_BYTES]))


def _sign(secret_key: str, prefix: str, payload: bytes) -> bytes:
    return compute_keyed_hash(secret_key, f"token {prefix}", payload)[:_SIGNATURE_BYTES]
