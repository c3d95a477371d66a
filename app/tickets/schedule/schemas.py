"""Define the responses about what will happen to a ticket automatically."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID, uuid5

from pydantic import Field

from app.core.fields import EXAMPLE_ID, ResponseModel, UtcTimestamp


class ScheduledAction(ResponseModel):
    """Something that will happen to a ticket automatically."""

    id: Annotated[
        UUID,
        Field(description="The action's id. It stays the same when the action is put off.", examples=[EXAMPLE_ID]),
    ]
    kind: Annotated[Literal["AUTO_CLOSE"], Field(description="What will happen.")]
    due_at: Annotated[UtcTimestamp, Field(description="When, on the organisation's clock.")]
    reason: Annotated[
        str,
        Field(
            description="Why, in a sentence.",
            examples=["Replied to on 2026-03-02: closes after 30 days without a new reply."],
        ),
    ]


class TicketSchedule(ResponseModel):
    """What will happen to a ticket automatically."""

    items: Annotated[list[ScheduledAction], Field(description="The scheduled actions, next first.")]


def make_action_id(ticket_id: UUID, kind: str) -> UUID:
    """Make the id of an action: a ticket has at most one of each kind."""
    return uuid5(UUID(str(ticket_id)), kind)
