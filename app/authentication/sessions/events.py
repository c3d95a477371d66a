"""What happens to sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class SessionRevoked(Event):
    """A refresh token was used twice: somebody else may have it, so its session has ended."""

    type: ClassVar[str] = "user.session_revoked"

    user_id: UUID
    session_id: UUID
