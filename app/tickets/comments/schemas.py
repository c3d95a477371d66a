"""Define the requests and responses about comments."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.core.fields import EXAMPLE_ID, CreatedAt, LongText, RequestModel, ResponseModel
from app.tickets.schemas import Ticket, UserReference

_MESSAGE = Field(description="The text of the reply.", examples=["We fixed the export. Please try again."])


class ReplyCreate(RequestModel):
    """A reply to the requester."""

    message: Annotated[LongText, _MESSAGE]


class Comment(ResponseModel):
    """A comment on a ticket. All comments are replies to the requester."""

    id: Annotated[UUID, Field(description="The comment's id.", examples=[EXAMPLE_ID])]
    message: Annotated[str, _MESSAGE]
    author: Annotated[UserReference, Field(description="The user who wrote it.")]
    created_at: CreatedAt


class CommentWithTicket(Comment):
    """A new comment with its ticket."""

    ticket_id: Annotated[UUID, Field(description="The ticket's id.", examples=[EXAMPLE_ID])]
    ticket: Annotated[Ticket, Field(description="The ticket after the reply.")]


class TicketWithComments(Ticket):
    """A ticket with all comments on it."""

    comments: Annotated[list[Comment], Field(description="The comments, oldest first.")]
