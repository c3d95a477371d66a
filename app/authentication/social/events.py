"""What happens between users and their accounts elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class IdentityLinked(Event):
    """From now on they can sign in with their account at this provider."""

    type: ClassVar[str] = "user.identity_linked"

    user_id: UUID
    provider: str
