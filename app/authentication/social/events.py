"""What happens between people and their accounts elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class IdentityLinked(Event):
    """From now on they can sign in with their account at this provider."""

    type: ClassVar[str] = "person.identity_linked"

    person_id: UUID
    provider: str
