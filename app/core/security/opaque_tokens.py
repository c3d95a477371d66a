"""Opaque tokens: texts that say nothing to whoever holds them, and lead us to a row.

Each names an organisation and a row of it, and ends in a signature, so that a made-up one is refused without a query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID

REFRESH_PREFIX = "trt_"
LINK_PREFIX = "tlt_"

_ID_BYTES = 16
_RANDOM_BYTES = 24
_SIGNATURE_BYTES = 25  # so that the whole is a multiple of three bytes, and needs no padding


@dataclass(frozen=True)
class Named:
    """The row that a token leads to."""

    org_id: UUID
    id: UUID


# --- refresh tokens --------------------------------------------------------------------------------------------------


def new_refresh_token(key: str, org_id: UUID, session_id: UUID) -> str:
    """The first refresh token of a session."""
    return _refresh_token(key, org_id, session_id, secrets.token_bytes(_RANDOM_BYTES))


def next_refresh_token(key: str, token: str) -> str:
    """The successor of a refresh token: always the same one, so that a retry gets what the first try got.

    Raises:
        ValueError: it is not a refresh token of ours.
    """
    named = read_refresh_token(key, token)
    successor = _mac(key, b"successor", token.encode())[:_RANDOM_BYTES]
    return _refresh_token(key, named.org_id, named.id, successor)


def read_refresh_token(key: str, token: str) -> Named:
    """The session of a refresh token.

    Raises:
        ValueError: it is not one of ours.
    """
    return _read(key, REFRESH_PREFIX, token, extra=_RANDOM_BYTES)


def _refresh_token(key: str, org_id: UUID, session_id: UUID, random: bytes) -> str:
    return _written(key, REFRESH_PREFIX, UUID(str(org_id)).bytes + UUID(str(session_id)).bytes + random)


def token_hash(token: str) -> bytes:
    """What is stored of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


# --- links in mails --------------------------------------------------------------------------------------------------


def link_token(key: str, org_id: UUID, link_id: UUID) -> str:
    """The token of a link: made whenever it is needed, and so stored nowhere."""
    return _written(key, LINK_PREFIX, UUID(str(org_id)).bytes + UUID(str(link_id)).bytes)


def read_link_token(key: str, token: str) -> Named:
    """The link of a token.

    Raises:
        ValueError: it is not one of ours.
    """
    return _read(key, LINK_PREFIX, token, extra=0)


# --- both ------------------------------------------------------------------------------------------------------------


def _written(key: str, prefix: str, payload: bytes) -> str:
    signed = payload + _mac(key, prefix.encode(), payload)[:_SIGNATURE_BYTES]
    return prefix + base64.urlsafe_b64encode(signed).decode()


def _read(key: str, prefix: str, token: str, *, extra: int) -> Named:
    if not token.startswith(prefix) or not token.isascii():
        raise ValueError("not a token of this kind")
    try:
        signed = base64.b64decode(token[len(prefix) :], altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    payload, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
    if len(payload) != 2 * _ID_BYTES + extra or not hmac.compare_digest(
        signature, _mac(key, prefix.encode(), payload)[:_SIGNATURE_BYTES]
    ):
        raise ValueError("not ours")
    return Named(UUID(bytes=payload[:_ID_BYTES]), UUID(bytes=payload[_ID_BYTES : 2 * _ID_BYTES]))


def _mac(key: str, purpose: bytes, message: bytes) -> bytes:
    return hmac.new(key.encode(), b"token\0" + purpose + b"\0" + message, hashlib.sha256).digest()
