"""Define the responses about what will happen to a ticket automatically."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.core.fields import ResponseModel, UtcTimestamp


class ScheduledAction(ResponseModel):
    """Something that will happen to a ticket automatically."""

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
