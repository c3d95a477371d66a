"""What crosses the wire about tickets."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from app.core.fields import EXAMPLE_ID, Email, In, LongText, Name, Out, OutTime, SecretField, Timestamp, Title
from app.core.web.paging import CountedPage, CountedPageQuery
from app.tickets.models import Priority, Status
from app.tickets.search.rules import MAX_WORD_LENGTH, MAX_WORDS, MAX_WORDS_WANTED, SHORTEST_BEGINNING, words_wanted

TitleField = Annotated[Title, Field(examples=["Cannot export March"])]
DescriptionField = Annotated[LongText, Field(examples=["The export of March stops at 40 % with an error."])]
MAX_FILTER_VALUES = 20
ME: Literal["me"] = "me"  # the caller, in a filter


class TicketIn(In):
    """A new ticket."""

    title: TitleField
    description: DescriptionField
    added_by: Annotated[
        Email,
        Field(
            description="The requester's e-mail: answers are mailed there. Needed with the secret; a signed-in user "
            "may leave it out, which means themselves, and a customer can name nobody else.",
            examples=["mia@customer.example"],
        ),
    ] = None  # type: ignore[assignment]
    priority: Annotated[Priority, Field(examples=["HIGH"])] = Priority.MEDIUM
    secret: SecretField = None


class TicketChange(In):
    """Any of these; a customer changes `title`, `description` and `priority`.

    `adminId: null` takes the ticket from its assignee.
    """

    title: TitleField = None  # type: ignore[assignment]
    description: DescriptionField = None  # type: ignore[assignment]
    admin_id: Annotated[
        UUID | None,
        Field(
            description="An active admin or engineer of the organisation who may see and change tickets; null for "
            "nobody: then it waits for the next one who becomes available. Not for customers."
        ),
    ] = None
    status: Annotated[Status, Field(description="Not for customers.", examples=["IN_PROGRESS"])] = None  # type: ignore[assignment]
    priority: Annotated[Priority, Field(examples=["HIGH"])] = None  # type: ignore[assignment]
    org_id: Annotated[UUID, Field(description="May only repeat the ticket's own.")] = None  # type: ignore[assignment]


class StatusChange(In):
    """The status to be."""

    status: Annotated[Status, Field(examples=["IN_PROGRESS"])]


class ResponseIn(In):
    """An answer to the requester."""

    message: Annotated[LongText, Field(examples=["We mended the export: please try again."])]


def _me_or_id(value: object) -> object:
    if value == ME:
        return value
    try:
        return UUID(str(value))
    except ValueError:
        raise ValueError("This is neither `me` nor the id of a user.") from None


Assignee = Annotated[
    UUID | Literal["me"],
    PlainValidator(_me_or_id),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": [ME]}, {"type": "string", "format": "uuid"}]}),
]


def _few_words(text: str) -> str:
    if len(words_wanted(text)) > MAX_WORDS_WANTED:
        raise ValueError(f"At most {MAX_WORDS_WANTED} words.")
    return text


class TicketFilter(CountedPageQuery):
    """Which tickets; a filter may be repeated, which means any of its values."""

    q: Annotated[
        Annotated[Name, AfterValidator(_few_words)] | None,
        Field(
            description="Words of the title, the description, the requester's e-mail or the responses, all of them, in "
            f"any order, case and accents aside. One of {SHORTEST_BEGINNING} letters or more may be the beginning of a "
            f"word; of longer ones the first {MAX_WORD_LENGTH} count. At most {MAX_WORDS_WANTED} words. A number or a "
            "reference (`42`, `#42`, `GROWFIN-42`) finds that ticket as well. What was written a second ago may not "
            f"be found yet. Of a ticket's own words there are {MAX_WORDS:,} at most, and as many of all its responses.",
            examples=["export march"],
        ),
    ] = None
    admin_email: Annotated[list[Email], Field(max_length=MAX_FILTER_VALUES, description="Assigned to.")] = []
    customer_email: Annotated[
        list[Email], Field(max_length=MAX_FILTER_VALUES, description="Added by: the requester.")
    ] = []
    status: Annotated[list[Status], Field(max_length=MAX_FILTER_VALUES)] = []
    priority: Annotated[list[Priority], Field(max_length=MAX_FILTER_VALUES)] = []
    created_after: Timestamp | None = None
    created_before: Timestamp | None = None
    updated_after: Timestamp | None = None
    assignee: Annotated[
        list[Assignee],
        Field(max_length=MAX_FILTER_VALUES, description="Assigned to: `me`, or the id of an admin or engineer."),
    ] = []
    unassigned: Annotated[bool | None, Field(description="Only those with (or, false, without) nobody to answer.")] = (
        None
    )
    sort: Annotated[
        Literal["-createdAt", "createdAt", "-updatedAt", "updatedAt"], Field(description="`-` means latest first.")
    ] = "-createdAt"


class UserReference(Out):
    """Somebody, as others see them."""

    id: UUID
    email: Annotated[str, Field(examples=["ada@growfin.com"])]
    first_name: Annotated[str, Field(examples=["Ada"])]
    last_name: Annotated[str, Field(examples=["Lovelace"])]


class TicketOut(Out):
    """A ticket. Times are the organisation's."""

    id: UUID
    number: Annotated[int, Field(description="1, 2, 3… in its organisation.", examples=[42])]
    reference: Annotated[str, Field(examples=["GROWFIN-42"])]
    org_id: UUID
    title: Annotated[str, Field(examples=["Cannot export March"])]
    description: Annotated[str, Field(examples=["The export of March stops at 40 % with an error."])]
    status: Status
    priority: Annotated[Priority, Field(examples=["HIGH"])]
    added_by: Annotated[str, Field(examples=["mia@customer.example"])]
    requester_id: Annotated[
        UUID | None, Field(description="The requester's account, where they have one.", examples=[EXAMPLE_ID])
    ]
    admin_id: Annotated[UUID | None, Field(description="The assignee.", examples=[EXAMPLE_ID])]
    admin: UserReference | None
    created_at: OutTime
    updated_at: OutTime
    responded_at: OutTime | None
    closed_at: OutTime | None
    auto_close_at: OutTime | None
    accepted_at: Annotated[OutTime | None, Field(description="When the assignee took it on.")]
    version: Annotated[int, Field(examples=[1])]


class ResponseOut(Out):
    """An answer."""

    id: UUID
    message: Annotated[str, Field(examples=["We mended the export: please try again."])]
    author: UserReference
    created_at: OutTime


class TicketWithResponses(TicketOut):
    """A ticket and all answers to it, oldest first."""

    responses: list[ResponseOut]


class ResponseCreated(ResponseOut):
    """The new answer, with the ticket as it is now."""

    ticket_id: UUID
    ticket: TicketOut


class TicketPage(CountedPage[TicketOut]):
    """A page of tickets."""


class ActorOut(Out):
    """Who did it: a user, the organisation's product, or Tessera itself."""

    type: Literal["USER", "ORGANISATION", "SYSTEM"]
    id: Annotated[UUID | None, Field(examples=[EXAMPLE_ID])] = None
    email: Annotated[str | None, Field(examples=["ada@growfin.com"])] = None
    first_name: Annotated[str | None, Field(examples=["Ada"])] = None
    last_name: Annotated[str | None, Field(examples=["Lovelace"])] = None


class ScheduledItem(Out):
    """Something that will happen by itself."""

    kind: Annotated[str, Field(examples=["AUTO_CLOSE"])]
    due_at: Annotated[OutTime, Field(description="The organisation's time.")]
    reason: Annotated[str, Field(examples=["Answered on 2026-03-02: closes after 30 days without a new answer."])]


class Schedule(Out):
    """What will happen to a ticket by itself."""

    items: list[ScheduledItem]
