"""Define the requests and responses about tickets, with the deprecated names of the first clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

from pydantic import MISSING, AfterValidator, Field, ValidationInfo

from app.access.operation_requirements import BodySecret
from app.core.email_addresses import RequesterEmail
from app.core.fields import (
    DEPRECATED,
    EXAMPLE_ID,
    CreatedAt,
    LongText,
    RequestModel,
    ResponseModel,
    Title,
    UpdatedAt,
    UtcTimestamp,
)
from app.requesters.schemas import RequesterCreate
from app.requesters.service import RequesterDetails
from app.tickets.changes import TicketChanges
from app.tickets.models import TicketPriority, TicketStatus

_TITLE = Field(description="What the ticket is about, in one line.", examples=["Cannot export March"])
_DESCRIPTION = Field(
    description="What the requester needs, in full.", examples=["The export of March stops at 40 % with an error."]
)
_PRIORITY = Field(description="How urgent the ticket is.", examples=["HIGH"])
_REQUESTER_NAME = Field(description="The requester's name.", examples=["Mia Chen"])
_REQUESTER_EMAIL = Field(description="The requester's e-mail address.", examples=["mia@customer.example"])


def same_as(field: str, convert: Callable[[Any], object] = lambda value: value) -> AfterValidator:
    """Validate that a deprecated field, if it is sent together with its replacement, has the same value.

    Args:
        field: the replacement. It must be declared before the deprecated field.
        convert: converts the value of `field` to the form that the deprecated field has.
    """

    def check(value: object, info: ValidationInfo) -> object:
        replacement = info.data.get(field, MISSING)
        if replacement is not MISSING and convert(replacement) != value:
            raise ValueError(
                "This deprecated field has another value than the field that replaces it. Send one of them."
            )
        return value

    return AfterValidator(check)


class TicketCreate(RequestModel):
    """A new ticket."""

    title: Annotated[Title, _TITLE]
    description: Annotated[LongText, _DESCRIPTION]
    requester: Annotated[
        RequesterCreate | MISSING,
        Field(
            description="The person that the ticket is for: one for each e-mail address. Name, locale and external id "
            "replace those known before. Required with a secret key. A signed-in user who leaves it out is the "
            "requester. A customer cannot name another requester.",
            examples=[{"email": "mia@customer.example"}],
        ),
    ] = MISSING
    added_by: Annotated[
        RequesterEmail | MISSING,
        same_as("requester", lambda requester: requester.email),
        Field(description="Use `requester.email` instead.", examples=["mia@customer.example"]),
        DEPRECATED,
    ] = MISSING
    priority: Annotated[TicketPriority, _PRIORITY] = TicketPriority.MEDIUM
    secret: BodySecret = None

    def requester_details(self) -> RequesterDetails | None:
        """Return what was sent of the requester; `None` if nothing was."""
        if self.requester is not MISSING:
            return self.requester.details()
        return None if self.added_by is MISSING else RequesterDetails(email=self.added_by)


class TicketUpdate(RequestModel):
    """Changes to a ticket. Fields that are not sent stay as they are.

    A customer may change `title`, `description` and `priority`.
    """

    title: Annotated[Title | MISSING, _TITLE] = MISSING
    description: Annotated[LongText | MISSING, _DESCRIPTION] = MISSING
    assignee_id: Annotated[
        UUID | MISSING | None,
        Field(
            description="The id of the assignee: an active admin or engineer of the organisation who may see and "
            "change tickets. Null removes the assignee: the ticket then waits for the next available user. Not for "
            "customers."
        ),
    ] = MISSING
    admin_id: Annotated[
        UUID | MISSING | None, same_as("assignee_id"), Field(description="Use `assigneeId` instead."), DEPRECATED
    ] = MISSING
    status: Annotated[
        TicketStatus | MISSING, Field(description="The new status. Not for customers.", examples=["IN_PROGRESS"])
    ] = MISSING
    priority: Annotated[TicketPriority | MISSING, _PRIORITY] = MISSING
    org_id: Annotated[
        UUID | MISSING, Field(description="May only repeat the ticket's own organisation. Leave it out."), DEPRECATED
    ] = MISSING

    def changes(self) -> TicketChanges:
        """Return the changes, under their current names."""
        return TicketChanges(
            title=self.title,
            description=self.description,
            priority=self.priority,
            assignee_id=self.admin_id if self.assignee_id is MISSING else self.assignee_id,
            status=self.status,
            org_id=self.org_id,
        )


class TicketStatusUpdate(RequestModel):
    """The new status of a ticket."""

    status: Annotated[TicketStatus, Field(description="The new status.", examples=["IN_PROGRESS"])]


class UserReference(ResponseModel):
    """A user, as they are shown on a ticket."""

    id: Annotated[UUID, Field(description="The user's id.", examples=[EXAMPLE_ID])]
    email: Annotated[str, Field(description="The user's e-mail address.", examples=["ada@growfin.com"])]
    first_name: Annotated[str, Field(description="The user's first name.", examples=["Ada"])]
    last_name: Annotated[str, Field(description="The user's last name.", examples=["Lovelace"])]


class TicketRequester(ResponseModel):
    """The person that a ticket was opened for."""

    id: Annotated[UUID, Field(description="The requester's id.", examples=[EXAMPLE_ID])]
    email: Annotated[str, _REQUESTER_EMAIL]
    name: Annotated[str | None, _REQUESTER_NAME, Field(description="The requester's name; null if it is not known.")]
    user_id: Annotated[
        UUID | None, Field(description="The id of the requester's account; null without one.", examples=[EXAMPLE_ID])
    ]


class Ticket(ResponseModel):
    """A ticket. All times follow the organisation's clock."""

    id: Annotated[UUID, Field(description="The ticket's id.", examples=[EXAMPLE_ID])]
    number: Annotated[int, Field(description="Counts 1, 2, 3… in the organisation.", examples=[42])]
    reference: Annotated[
        str, Field(description="The number with the organisation's prefix, as users see it.", examples=["GROWFIN-42"])
    ]
    org_id: Annotated[UUID, Field(description="The id of the ticket's organisation.", examples=[EXAMPLE_ID])]
    title: Annotated[str, _TITLE]
    description: Annotated[str, _DESCRIPTION]
    status: Annotated[TicketStatus, Field(description="The state of the work on the ticket.")]
    priority: Annotated[TicketPriority, _PRIORITY]
    requester: Annotated[TicketRequester, Field(description="The person that the ticket was opened for.")]
    assignee_id: Annotated[
        UUID | None, Field(description="The id of the assignee; null without one.", examples=[EXAMPLE_ID])
    ]
    assignee: Annotated[UserReference | None, Field(description="The assignee; null without one.")]
    created_at: CreatedAt
    updated_at: UpdatedAt
    responded_at: Annotated[
        UtcTimestamp | None, Field(description="When the ticket last became `RESPONDED`; null if it never was.")
    ]
    accepted_at: Annotated[UtcTimestamp | None, Field(description="When the assignee accepted it; null before.")]
    closed_at: Annotated[UtcTimestamp | None, Field(description="When it was closed; null unless it is `CLOSED`.")]
    auto_close_at: Annotated[
        UtcTimestamp | None, Field(description="When it will close automatically; null unless it is `RESPONDED`.")
    ]
    version: Annotated[int, Field(description="Counts the changes; also sent as `ETag`.", examples=[1])]
    added_by: Annotated[str, _REQUESTER_EMAIL, Field(description="Use `requester.email` instead."), DEPRECATED]
    admin_id: Annotated[UUID | None, Field(description="Use `assigneeId` instead.", examples=[EXAMPLE_ID]), DEPRECATED]
