"""Access tokens: JWTs (RFC 7519) that users send as `Authorization: Bearer …`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from jose import jwt

from app.core.errors import Unauthenticated
from app.core.ids import new_id
from app.core.security.derived_keys import derive_key

ACCESS_TOKEN_LIFETIME = timedelta(minutes=30)
_ALGORITHM = "HS256"
_ISSUER = "tessera"
_AUDIENCE = "tessera-api"


class InvalidToken(Unauthenticated):
    """The access token is not one of this service, has expired, or its session has ended."""

    code = "invalid_token"
    title = "The access token is not valid, or has expired. Refresh it or sign in again."


@dataclass(frozen=True)
class AccessClaims:
    """The claims of an access token. Whether the user may still act is not among them: look it up."""

    user_id: UUID
    org_id: UUID
    session_id: UUID
    expires_at: float  # seconds since the epoch
    all: Mapping[str, Any]


def issue_access_token(
    secret_key: str,
    *,
    user_id: UUID,
    org_id: UUID,
    session_id: UUID,
    role: str,
    now: datetime,
    session_expires_at: datetime,
) -> str:
    """Issue a JWT to a user at `now` (real time), valid for `ACCESS_TOKEN_LIFETIME`, or until the session ends."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": str(user_id),
        "org": str(org_id),
        "sid": str(session_id),
        "role": role,
        "typ": "access",
        "iat": int(now.timestamp()),
        "exp": int(min(now + ACCESS_TOKEN_LIFETIME, session_expires_at).timestamp()),
        "jti": str(new_id()),
    }
    return jwt.encode(claims, _signing_key(secret_key), algorithm=_ALGORITHM)


def _signing_key(secret_key: str) -> bytes:
    return derive_key(secret_key, "access token")


def read_access_token(secret_key: str, token: str) -> AccessClaims:
    """Verify an access token and return its claims.

    Raises:
        InvalidToken: the token was not issued by this service, is incomplete, or has expired.
    """
    try:
        claims = jwt.decode(
            token,
            _signing_key(secret_key),
            algorithms=[_ALGORITHM],
            audience=_AUDIENCE,
            issuer=_ISSUER,
            options={f"require_{claim}": True for claim in ("iss", "aud", "sub", "iat", "exp", "jti")},
        )
        # A token is invalid from the second `exp` on (RFC 7519, 4.1.4). The library still accepts it in that second.
        if claims["typ"] != "access" or claims["exp"] <= time.time():
            raise InvalidToken  # noqa: TRY301 - the except clause turns every error into this one
        return AccessClaims(
            user_id=UUID(claims["sub"]),
            org_id=UUID(claims["org"]),
            session_id=UUID(claims["sid"]),
            expires_at=float(claims["exp"]),
            all=claims,
        )
    except Exception:  # noqa: BLE001 - a hostile token makes the parser raise nearly anything, RecursionError too
        raise InvalidToken from None
