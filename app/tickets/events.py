"""What happens to tickets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from app.core.outbox.events import Event

# Written by the statement that opens a ticket (`queries.py`).
TICKET_CREATED = "ticket.created"


@dataclass(frozen=True, kw_only=True)
class TicketAssigned(Event):
    """It is somebody else's now, or nobody's."""

    type: ClassVar[str] = "ticket.assigned"

    admin_id: UUID | None
    previous_admin_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class TicketAccepted(Event):
    """Its assignee has taken it on."""

    type: ClassVar[str] = "ticket.accepted"

    admin_id: UUID


@dataclass(frozen=True, kw_only=True)
class TicketStatusChanged(Event):
    """Its status is another one. `reason` is `AUTO_CLOSE` where time did it."""

    type: ClassVar[str] = "ticket.status_changed"

    from_status: str
    to_status: str
    reason: str | None = None

    def data(self) -> dict[str, Any]:
        """`{from, to}`, with the reason where there is one."""
        return status_change(self.from_status, self.to_status, self.reason)


def status_change(from_status: str, to_status: str, reason: str | None = None) -> dict[str, Any]:
    """The data of a change of status."""
    change = {"from": from_status, "to": to_status}
    return {**change, "reason": reason} if reason else change


@dataclass(frozen=True, kw_only=True)
class TicketUpdated(Event):
    """Some fields changed: `{field: {from, to}}`."""

    type: ClassVar[str] = "ticket.updated"

    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TicketResponded(Event):
    """Somebody answered."""

    type: ClassVar[str] = "ticket.responded"

    response_id: UUID


@dataclass(frozen=True, kw_only=True)
class TicketClosingSoon(Event):
    """The requester is to be told that it will close."""

    type: ClassVar[str] = "ticket.closing_soon"

    auto_close_at: str
