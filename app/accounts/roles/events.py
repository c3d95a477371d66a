"""The events of roles. Names of roles are no personal data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from app.access.user_permissions import TICKET_WORK, RoleKind
from app.core.outbox.events import Event, Subject


@dataclass(frozen=True, kw_only=True)
class RoleEvent(Event):
    """The base of events about a role."""

    role_id: Subject
    name: Annotated[str, Field(description="The name of the role.")]


@dataclass(frozen=True, kw_only=True)
class RoleCreated(RoleEvent):
    """The organisation created a role, with these permissions."""

    type: ClassVar[str] = "role.created"

    role: Annotated[RoleKind, Field(description="The kind of the role.")]
    permissions: Annotated[list[str], Field(description="The permissions of the role, such as `tickets:view`.")]


@dataclass(frozen=True, kw_only=True)
class RoleUpdated(RoleEvent):
    """The name or the permissions of a role changed, for all users who have it. `name` is the current name."""

    type: ClassVar[str] = "role.updated"

    added: Annotated[list[str], Field(description="The permissions that the role has gained.")]
    removed: Annotated[list[str], Field(description="The permissions that the role has lost.")]

    @property
    def could_enable_ticket_work(self) -> bool:
        """Whether the change could let users of the role work on tickets who could not before."""
        return not TICKET_WORK.isdisjoint(self.added)

    @property
    def could_disable_ticket_work(self) -> bool:
        """Whether the change could end the work on tickets of users of the role."""
        return not TICKET_WORK.isdisjoint(self.removed)


@dataclass(frozen=True, kw_only=True)
class RoleDeleted(RoleEvent):
    """A role was deleted. No user had it."""

    type: ClassVar[str] = "role.deleted"
