"""The state of a social sign-in while the user is at the provider, in an encrypted cookie.

The cookie binds the callback to the browser that started the sign-in. An attacker can neither sign a victim in to the
attacker's account nor use a stolen code.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.access.user_permissions import RoleKind
from app.authentication.social.errors import StateMismatch
from app.core.security.sealing import CannotUnseal, seal, unseal

LIFETIME = timedelta(minutes=10)
_STATE_PATTERN = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
_RANDOM_BYTES = 24
_VERIFIER_BYTES = 48  # 64 characters; RFC 7636, 4.1, requires 43 to 128


@dataclass(frozen=True, kw_only=True)
class PendingSignIn:
    """A sign-in that has been started."""

    state: str
    nonce: str
    verifier: str
    org: str  # the organisation's domain
    role: RoleKind
    remember: bool
    expires_at: int  # seconds since the epoch

    @classmethod
    def begin(cls, org: str, role: RoleKind, now: datetime, *, remember: bool) -> PendingSignIn:
        """Start a sign-in at `now` (real time)."""
        return cls(
            state=secrets.token_urlsafe(_RANDOM_BYTES),
            nonce=secrets.token_urlsafe(_RANDOM_BYTES),
            verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
            org=org,
            role=role,
            remember=remember,
            expires_at=int((now + LIFETIME).timestamp()),
        )

    def seal(self, key: str, provider: str) -> str:
        """Encrypt the sign-in to a cookie value."""
        return base64.urlsafe_b64encode(seal(key, _purpose(provider), orjson.dumps(asdict(self)))).decode().rstrip("=")

    @classmethod
    def unseal(cls, key: str, provider: str, value: str | None, state: str, now: datetime) -> PendingSignIn:
        """Decrypt a cookie value, and check that it belongs to the callback's `state`.

        Raises:
            StateMismatch: The value is missing, invalid, expired, or of another sign-in or provider.
        """
        try:
            sealed = base64.b64decode((value or "") + "=" * (-len(value or "") % 4), altchars=b"-_", validate=True)
            fields: dict[str, Any] = orjson.loads(unseal(key, _purpose(provider), sealed))
        except (CannotUnseal, binascii.Error, ValueError):
            raise StateMismatch from None
        pending = cls(**{**fields, "role": RoleKind(fields["role"])})
        if not hmac.compare_digest(pending.state, state) or now.timestamp() >= pending.expires_at:
            raise StateMismatch
        return pending


def cookie_name(provider: str, state: str) -> str:
    """Return the cookie name of a sign-in; concurrent sign-ins use different cookies.

    Raises:
        StateMismatch: The state has an invalid format.
    """
    if not _STATE_PATTERN.fullmatch(state):
        raise StateMismatch
    return f"tessera_oidc_{provider}_{state[:8]}"


def _purpose(provider: str) -> str:
    return f"social sign-in {provider}"
