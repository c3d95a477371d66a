"""What happens to roles. Their names are the organisation's own, and say nothing of a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

from app.core.outbox.events import Event


@dataclass(frozen=True, kw_only=True)
class RoleCreated(Event):
    """A role of the organisation's own, with its permissions."""

    type: ClassVar[str] = "role.created"

    role_id: UUID
    name: str
    role: str
    permissions: list[str]


@dataclass(frozen=True, kw_only=True)
class RoleUpdated(Event):
    """Its name, as it is now, or its permissions changed, for everybody who has it."""

    type: ClassVar[str] = "role.updated"

    role_id: UUID
    name: str
    added: list[str]
    removed: list[str]


@dataclass(frozen=True, kw_only=True)
class RoleDeleted(Event):
    """Nobody had it any more."""

    type: ClassVar[str] = "role.deleted"

    role_id: UUID
    name: str
