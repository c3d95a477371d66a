"""A set of changes to a ticket, and what customers may change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pydantic import MISSING

from app.core.changes import Changes
from app.tickets.models import Ticket, TicketPriority, TicketStatus

# What customers may send for their own tickets. `org_id` must be the ticket's own.
CUSTOMER_FIELDS = frozenset({"title", "description", "priority", "org_id"})
_EDITABLE_FIELDS = ("title", "description", "priority")


@dataclass(frozen=True, kw_only=True)
class TicketChanges(Changes):
    """New values of a ticket's fields; fields that are `MISSING` stay as they are.

    `org_id` may only repeat the ticket's own. An `assignee_id` of `None` removes the assignee.
    """

    title: str | MISSING = MISSING
    description: str | MISSING = MISSING
    priority: TicketPriority | MISSING = MISSING
    assignee_id: UUID | MISSING | None = MISSING
    status: TicketStatus | MISSING = MISSING
    org_id: UUID | MISSING = MISSING

    @property
    def names(self) -> frozenset[str]:
        """The names of the fields that have a new value."""
        return frozenset(self.values)

    def differing_from(self, ticket: Ticket) -> TicketChanges:
        """Leave out the values that the ticket has already."""
        same: dict[str, Any] = {name: MISSING for name in self.names if getattr(self, name) == getattr(ticket, name)}
        return replace(self, **same)

    def edit(self, ticket: Ticket) -> dict[str, dict[str, Any]]:
        """Change the title, the description and the priority; return the data for `TicketUpdated`.

        Descriptions are long, so the data only says that they changed.
        """
        data: dict[str, dict[str, Any]] = {}
        for name in _EDITABLE_FIELDS:
            if name in self.names:
                value = getattr(self, name)
                data[name] = {} if name == "description" else {"from": getattr(ticket, name), "to": value}
                setattr(ticket, name, value)
        return data
