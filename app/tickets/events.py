"""The events of tickets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from app.core.fields import EXAMPLE_ID, UtcTimestamp
from app.core.outbox.events import Event, Subject
from app.tickets.models import TicketPriority, TicketStatus

AssigneeId = Annotated[UUID | None, Field(description="The assignee; null for none.", examples=[EXAMPLE_ID])]


def _is_none(value: object) -> bool:
    return value is None


@dataclass(frozen=True, kw_only=True)
class TicketEvent(Event):
    """The base of the events that make up a ticket's history."""

    ticket_id: Subject


@dataclass(frozen=True, kw_only=True)
class TicketChangeEvent(TicketEvent):
    """The base of the events that change a ticket's row: `updatedAt` is the time of the last of them."""


@dataclass(frozen=True, kw_only=True)
class TicketCreated(TicketChangeEvent):
    """The ticket was opened."""

    type: ClassVar[str] = "ticket.created"

    number: Annotated[int, Field(description="The ticket's number in its organisation.", examples=[42])]
    status: Annotated[TicketStatus, Field(description="The status that the ticket was opened with.")]
    priority: Annotated[TicketPriority, Field(description="The priority that the ticket was opened with.")]


@dataclass(frozen=True, kw_only=True)
class TicketAssigned(TicketChangeEvent):
    """The ticket has another assignee, or none."""

    type: ClassVar[str] = "ticket.assigned"

    assignee_id: AssigneeId
    previous_assignee_id: Annotated[AssigneeId, Field(description="The assignee before; null for none.")] = None


@dataclass(frozen=True, kw_only=True)
class TicketAccepted(TicketChangeEvent):
    """The assignee accepted the ticket."""

    type: ClassVar[str] = "ticket.accepted"

    assignee_id: Annotated[UUID, Field(description="The assignee.", examples=[EXAMPLE_ID])]


@dataclass(frozen=True, kw_only=True)
class TicketStatusChanged(TicketChangeEvent):
    """The status changed."""

    type: ClassVar[str] = "ticket.status_changed"

    from_status: Annotated[TicketStatus, Field(alias="from", description="The status before.")]
    to_status: Annotated[TicketStatus, Field(alias="to", description="The status after.")]
    reason: Annotated[
        Literal["AUTO_CLOSE"] | None,
        Field(description="`AUTO_CLOSE` if the ticket closed automatically; absent otherwise.", exclude_if=_is_none),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TicketUpdated(TicketChangeEvent):
    """Title, description or priority changed; or the requester, in tickets erased before version 0.3."""

    type: ClassVar[str] = "ticket.updated"

    changes: Annotated[
        dict[str, dict[str, Any]],
        Field(
            description="`{field: {from, to}}`. For the description and the requester's e-mail, without the values: "
            "`{field: {}}`.",
            examples=[{"priority": {"from": "LOW", "to": "HIGH"}}],
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class TicketResponded(TicketChangeEvent):
    """A user of the organisation replied to the requester."""

    type: ClassVar[str] = "ticket.responded"

    comment_id: Annotated[UUID, Field(description="The comment with the reply.", examples=[EXAMPLE_ID])]


@dataclass(frozen=True, kw_only=True)
class TicketClosingSoon(TicketEvent):
    """The requester is reminded that the ticket will close."""

    type: ClassVar[str] = "ticket.closing_soon"

    auto_close_at: Annotated[UtcTimestamp, Field(description="When the ticket will close automatically.")]
