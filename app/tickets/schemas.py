"""Define the requests and responses about tickets."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, cast
from uuid import UUID

from pydantic import (
    MISSING,
    AfterValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.core.fields import (
    DEPRECATED,
    EXAMPLE_ID,
    BodySecret,
    CreatedAt,
    Email,
    LongText,
    Name,
    OptionalParameter,
    RequestModel,
    ResponseModel,
    Timestamp,
    Title,
    UpdatedAt,
    UtcTimestamp,
)
from app.core.web.paging import CountedPage, CountedPageQuery
from app.tickets.models import TicketPriority, TicketStatus
from app.tickets.search.rules import MAX_QUERY_TERMS, MAX_WORD_LENGTH, MAX_WORDS, MIN_PREFIX_LENGTH, query_terms
from app.tickets.service import TicketChanges

MAX_FILTER_VALUES = 20
ME: Literal["me"] = "me"  # the caller, in a filter

_TITLE = Field(description="What the ticket is about, in one line.", examples=["Cannot export March"])
_DESCRIPTION = Field(
    description="What the requester needs, in full.", examples=["The export of March stops at 40 % with an error."]
)
_PRIORITY = Field(description="How urgent the ticket is.", examples=["HIGH"])
_MESSAGE = Field(description="The text of the reply.", examples=["We fixed the export. Please try again."])


class TicketCreate(RequestModel):
    """A new ticket."""

    title: Annotated[Title, _TITLE]
    description: Annotated[LongText, _DESCRIPTION]
    added_by: Annotated[
        Email | MISSING,
        Field(
            description="The requester's e-mail address, which replies are mailed to. Required with a secret key. A "
            "signed-in user who leaves it out is the requester. A customer cannot name another requester.",
            examples=["mia@customer.example"],
        ),
        DEPRECATED,
    ] = MISSING
    priority: Annotated[TicketPriority, _PRIORITY] = TicketPriority.MEDIUM
    secret: BodySecret = None


class TicketUpdate(RequestModel):
    """Changes to a ticket. Fields that are not sent stay as they are.

    A customer may change `title`, `description` and `priority`.
    """

    title: Annotated[Title | MISSING, _TITLE] = MISSING
    description: Annotated[LongText | MISSING, _DESCRIPTION] = MISSING
    admin_id: Annotated[
        UUID | MISSING | None,
        Field(
            description="The id of the assignee: an active admin or engineer of the organisation who may see and "
            "change tickets. Null removes the assignee: the ticket then waits for the next available user. Not for "
            "customers."
        ),
        DEPRECATED,
    ] = MISSING
    status: Annotated[
        TicketStatus | MISSING, Field(description="The new status. Not for customers.", examples=["IN_PROGRESS"])
    ] = MISSING
    priority: Annotated[TicketPriority | MISSING, _PRIORITY] = MISSING
    org_id: Annotated[
        UUID | MISSING, Field(description="May only repeat the ticket's own organisation. Leave it out."), DEPRECATED
    ] = MISSING

    def changes(self) -> TicketChanges:
        """Return the fields that were sent."""
        return cast("TicketChanges", self.model_dump())


class TicketStatusUpdate(RequestModel):
    """The new status of a ticket."""

    status: Annotated[TicketStatus, Field(description="The new status.", examples=["IN_PROGRESS"])]


class TicketReplyCreate(RequestModel):
    """A reply to the requester."""

    message: Annotated[LongText, _MESSAGE]


def _parse_assignee(value: object) -> object:
    if value == ME:
        return value
    try:
        return UUID(str(value))
    except ValueError:
        raise ValueError("This is neither `me` nor the id of a user.") from None


Assignee = Annotated[
    UUID | Literal["me"],
    PlainValidator(_parse_assignee),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": [ME]}, {"type": "string", "format": "uuid"}]}),
]


def _limit_words(text: str) -> str:
    if len(query_terms(text)) > MAX_QUERY_TERMS:
        raise ValueError(f"At most {MAX_QUERY_TERMS} words.")
    return text


class TicketSort(StrEnum):
    """The order of a list of tickets: a time, latest first where it starts with `-`."""

    CREATED_AT_DESC = "-createdAt"
    CREATED_AT_ASC = "createdAt"
    UPDATED_AT_DESC = "-updatedAt"
    UPDATED_AT_ASC = "updatedAt"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the members' names for generators of clients, which cannot make names of `-createdAt`."""
        described = handler.resolve_ref_schema(handler(schema))
        described["x-enum-varnames"] = [member.name for member in cls]
        return described


class TicketFilter(CountedPageQuery):
    """Select tickets. A repeated filter accepts any of its values."""

    q: Annotated[
        OptionalParameter[Annotated[Name, AfterValidator(_limit_words)]],
        Field(
            description="Words of the title, the description, the requester's e-mail address or the replies. All must "
            f"match, in any order, ignoring case and accents. One with {MIN_PREFIX_LENGTH} or more letters also "
            f"matches the beginning of a word; only its first {MAX_WORD_LENGTH} letters count. At most "
            f"{MAX_QUERY_TERMS} words. A number or a reference (`42`, `#42`, `GROWFIN-42`) also finds that ticket. "
            f"Text of the last second may not be found yet. Searchable are at most {MAX_WORDS:,} words of a ticket, "
            "and as many of all its replies.",
            examples=["export march"],
        ),
    ] = None
    admin_email: Annotated[
        list[Email],
        Field(
            max_length=MAX_FILTER_VALUES,
            description="E-mail addresses of assignees. Use `assignee` with their ids instead.",
        ),
        DEPRECATED,
    ] = []
    customer_email: Annotated[
        list[Email], Field(max_length=MAX_FILTER_VALUES, description="E-mail addresses of requesters."), DEPRECATED
    ] = []
    status: Annotated[list[TicketStatus], Field(max_length=MAX_FILTER_VALUES, description="Statuses.")] = []
    priority: Annotated[list[TicketPriority], Field(max_length=MAX_FILTER_VALUES, description="Priorities.")] = []
    created_after: Annotated[OptionalParameter[Timestamp], Field(description="Created later than this time.")] = None
    created_before: Annotated[OptionalParameter[Timestamp], Field(description="Created earlier than this time.")] = None
    updated_after: Annotated[OptionalParameter[Timestamp], Field(description="Changed later than this time.")] = None
    assignee: Annotated[
        list[Assignee],
        Field(max_length=MAX_FILTER_VALUES, description="Assignees: ids of users, or `me` for the caller."),
    ] = []
    unassigned: Annotated[
        OptionalParameter[bool], Field(description="`true` finds tickets without an assignee, `false` those with one.")
    ] = None
    sort: Annotated[TicketSort, Field(description="The order; `-` means latest first.")] = TicketSort.CREATED_AT_DESC


class UserReference(ResponseModel):
    """A user, as they are shown on a ticket."""

    id: Annotated[UUID, Field(description="The user's id.", examples=[EXAMPLE_ID])]
    email: Annotated[str, Field(description="The user's e-mail address.", examples=["ada@growfin.com"])]
    first_name: Annotated[str, Field(description="The user's first name.", examples=["Ada"])]
    last_name: Annotated[str, Field(description="The user's last name.", examples=["Lovelace"])]


class Ticket(ResponseModel):
    """A ticket. All times are those of the organisation's clock."""

    id: Annotated[UUID, Field(description="The ticket's id.", examples=[EXAMPLE_ID])]
    number: Annotated[int, Field(description="Counts 1, 2, 3… in the organisation.", examples=[42])]
    reference: Annotated[
        str, Field(description="The number with the organisation's prefix, for people.", examples=["GROWFIN-42"])
    ]
    org_id: Annotated[UUID, Field(description="The id of the ticket's organisation.", examples=[EXAMPLE_ID])]
    title: Annotated[str, _TITLE]
    description: Annotated[str, _DESCRIPTION]
    status: Annotated[TicketStatus, Field(description="The state of the work on the ticket.")]
    priority: Annotated[TicketPriority, _PRIORITY]
    added_by: Annotated[
        str, Field(description="The requester's e-mail address.", examples=["mia@customer.example"]), DEPRECATED
    ]
    requester_id: Annotated[
        UUID | None, Field(description="The id of the requester's account; null without one.", examples=[EXAMPLE_ID])
    ]
    admin_id: Annotated[
        UUID | None, Field(description="The id of the assignee; null without one.", examples=[EXAMPLE_ID]), DEPRECATED
    ]
    admin: Annotated[UserReference | None, Field(description="The assignee; null without one.")]
    created_at: CreatedAt
    updated_at: UpdatedAt
    responded_at: Annotated[
        UtcTimestamp | None, Field(description="When the ticket last became `RESPONDED`; null if it never was.")
    ]
    closed_at: Annotated[UtcTimestamp | None, Field(description="When it was closed; null unless it is `CLOSED`.")]
    auto_close_at: Annotated[
        UtcTimestamp | None, Field(description="When it will close automatically; null unless it is `RESPONDED`.")
    ]
    accepted_at: Annotated[UtcTimestamp | None, Field(description="When the assignee accepted it; null before.")]
    version: Annotated[int, Field(description="Counts the changes; also sent as `ETag`.", examples=[1])]


class TicketReply(ResponseModel):
    """A reply to the requester."""

    id: Annotated[UUID, Field(description="The reply's id.", examples=[EXAMPLE_ID])]
    message: Annotated[str, _MESSAGE]
    author: Annotated[UserReference, Field(description="The user who wrote it.")]
    created_at: CreatedAt


class TicketWithReplies(Ticket):
    """A ticket with all replies to it."""

    responses: Annotated[list[TicketReply], Field(description="The replies, oldest first.")]


class TicketReplyCreated(TicketReply):
    """The new reply with its ticket."""

    ticket_id: Annotated[UUID, Field(description="The ticket's id.", examples=[EXAMPLE_ID])]
    ticket: Annotated[Ticket, Field(description="The ticket after the reply.")]


class TicketPage(CountedPage[Ticket]):
    """A page of tickets."""


class EventActor(ResponseModel):
    """Who caused an event: a user, the organisation's product, or Tessera itself."""

    type: Annotated[Literal["USER", "ORGANISATION", "SYSTEM"], Field(description="Which of the three.")]
    id: Annotated[UUID | MISSING, Field(description="The id of the user or organisation.", examples=[EXAMPLE_ID])] = (
        MISSING
    )
    email: Annotated[
        str | MISSING | None, Field(description="The user's e-mail address.", examples=["ada@growfin.com"])
    ] = MISSING
    first_name: Annotated[str | MISSING | None, Field(description="The user's first name.", examples=["Ada"])] = MISSING
    last_name: Annotated[str | MISSING | None, Field(description="The user's last name.", examples=["Lovelace"])] = (
        MISSING
    )


class ScheduledAction(ResponseModel):
    """Something that will happen to a ticket automatically."""

    kind: Annotated[str, Field(description="What will happen.", examples=["AUTO_CLOSE"])]
    due_at: Annotated[UtcTimestamp, Field(description="When, on the organisation's clock.")]
    reason: Annotated[
        str,
        Field(
            description="Why, in a sentence.",
            examples=["Answered on 2026-03-02: closes after 30 days without a new answer."],
        ),
    ]


class TicketSchedule(ResponseModel):
    """What will happen to a ticket automatically."""

    items: Annotated[list[ScheduledAction], Field(description="The scheduled actions, next first.")]
