"""What is remembered of a social sign-in while somebody is at the provider: in a cookie that only we can read.

It binds the provider's answer to the browser that asked for it, so that nobody is signed in to an account of
somebody else's choice, and a stolen code is worth nothing without it.
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

from app.access.permissions import RoleKind
from app.core.errors import Forbidden
from app.core.security.sealing import CannotOpen, seal, unseal

LIFETIME = timedelta(minutes=10)
_STATE = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
_RANDOM_BYTES = 24
_VERIFIER_BYTES = 48  # 64 characters; RFC 7636, 4.1, wants 43 to 128


class StateMismatch(Forbidden):
    """The answer is not one to a sign-in that this browser began."""

    code = "state_mismatch"
    title = "This sign-in was not begun in this browser, is over, or took longer than ten minutes: begin again."


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A sign-in that was begun. `org` is the organisation's domain, `expires_at` in seconds since the epoch."""

    state: str
    nonce: str
    verifier: str
    org: str
    role: RoleKind
    remember: bool
    expires_at: int

    @classmethod
    def begin(cls, org: str, role: RoleKind, now: datetime, *, remember: bool) -> Pending:
        """A new one at `now` (real time)."""
        return cls(
            state=secrets.token_urlsafe(_RANDOM_BYTES),
            nonce=secrets.token_urlsafe(_RANDOM_BYTES),
            verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
            org=org,
            role=role,
            remember=remember,
            expires_at=int((now + LIFETIME).timestamp()),
        )

    def sealed(self, key: str, provider: str) -> str:
        """The cookie's value."""
        return base64.urlsafe_b64encode(seal(key, _purpose(provider), orjson.dumps(asdict(self)))).decode().rstrip("=")

    @classmethod
    def opened(cls, key: str, provider: str, value: str | None, state: str, now: datetime) -> Pending:
        """The sign-in that a cookie's value is of, and an answer with this `state`.

        Raises:
            StateMismatch: there is none, it is another one's or another provider's, or it has expired.
        """
        try:
            sealed = base64.b64decode((value or "") + "=" * (-len(value or "") % 4), altchars=b"-_", validate=True)
            read: dict[str, Any] = orjson.loads(unseal(key, _purpose(provider), sealed))
        except (CannotOpen, binascii.Error, ValueError):
            raise StateMismatch from None
        pending = cls(**{**read, "role": RoleKind(read["role"])})
        if not hmac.compare_digest(pending.state, state) or now.timestamp() >= pending.expires_at:
            raise StateMismatch
        return pending


def cookie_name(provider: str, state: str) -> str:
    """The cookie of a sign-in; two that are under way at once do not share one.

    Raises:
        StateMismatch: it is no state of ours.
    """
    if not _STATE.fullmatch(state):
        raise StateMismatch
    return f"tessera_oidc_{provider}_{state[:8]}"


def _purpose(provider: str) -> str:
    return f"social sign-in {provider}"
