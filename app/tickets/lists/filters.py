"""The filters of the list of tickets: each is declared once, as a field of `TicketFilters` with its operator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, GetJsonSchemaHandler, PlainValidator, TypeAdapter, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.access.callers import Caller, UserCaller
from app.core.database.filters import SEARCH_RULES, Filters, find_operators
from app.core.email_addresses import KnownEmail, KnownRequesterEmail
from app.core.errors import BadInput
from app.core.fields import DEPRECATED, OptionalParameter, SearchInput, Timestamp
from app.core.lookalikes import map_widths
from app.core.search_texts import MIN_PREFIX_LENGTH
from app.core.words import MAX_WORD_LENGTH
from app.tickets.lists.operators import NONE, Compares, HasAssignee, HasRequester, IsAnyOf, TicketOperator
from app.tickets.models import Ticket, TicketPriority, TicketStatus
from app.tickets.search.rules import MAX_REQUESTERS, MAX_WORDS

MAX_FILTER_VALUES = 20
ME: Literal["me"] = "me"  # the caller


# --- types of values -------------------------------------------------------------------------------------------------


_EMAIL: TypeAdapter[str] = TypeAdapter(KnownRequesterEmail)


def _parse_user(value: object, *words: str) -> object:
    if value in words:
        return value
    text = map_widths(str(value))  # the @ of an address may be full-width, too
    return _EMAIL.validate_python(text) if "@" in text else UUID(text)


def _parse_assignee(value: object) -> object:
    try:
        return _parse_user(value, ME, NONE)
    except ValueError:
        raise ValueError("This is neither `me`, `none`, the id of a user nor an e-mail address.") from None


def _parse_requester(value: object) -> object:
    try:
        return _parse_user(value)
    except ValueError:
        raise ValueError("This is neither an e-mail address nor an id.") from None


_ID_OR_EMAIL: list[JsonSchemaValue] = [{"type": "string", "format": "uuid"}, {"type": "string", "format": "email"}]
Assignee = Annotated[
    UUID | str,
    PlainValidator(_parse_assignee),
    WithJsonSchema({"anyOf": [{"type": "string", "title": "AssigneeKeyword", "enum": [ME, NONE]}, *_ID_OR_EMAIL]}),
]
Requester = Annotated[UUID | str, PlainValidator(_parse_requester), WithJsonSchema({"anyOf": _ID_OR_EMAIL})]


class TicketSort(StrEnum):
    """The order of a list of tickets: by a time, latest first if it starts with `-`."""

    CREATED_AT_DESC = "-createdAt"
    CREATED_AT_ASC = "createdAt"
    UPDATED_AT_DESC = "-updatedAt"
    UPDATED_AT_ASC = "updatedAt"

    @property
    def column(self) -> str:
        """The column to sort by."""
        return "updated_at" if self.value.endswith("updatedAt") else "created_at"

    @property
    def is_descending(self) -> bool:
        """Whether the latest come first."""
        return self.value.startswith("-")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the members' names for generators of clients, which cannot make names of `-createdAt`."""
        described = handler.resolve_ref_schema(handler(schema))
        described["x-enum-varnames"] = [member.name for member in cls]
        return described


# --- the filters -----------------------------------------------------------------------------------------------------


def _repeatable(description: str) -> Any:
    return Field(max_length=MAX_FILTER_VALUES, description=description)


class TicketFilters(Filters):
    """Select tickets, and sort them. A repeated filter matches any of its values."""

    q: Annotated[
        OptionalParameter[SearchInput],
        Field(
            description="Words of the title, the description, the replies, or the requester's name or e-mail address. "
            f"{SEARCH_RULES} A search word of {MIN_PREFIX_LENGTH} or more letters also matches the beginning of a "
            f"word; only its first {MAX_WORD_LENGTH} letters are compared. Of the requesters that a word matches, at "
            f"most {MAX_REQUESTERS} count; `note` says if there are more. A number (`42`, `#42`) also finds that "
            "ticket. A reference (`GROWFIN-42`) anywhere in the text, as in the subject of a mail, finds that ticket "
            "and the ones that mention it, whatever the other words are. Text of the last second may not be found yet. "
            f"At most {MAX_WORDS:,} words of a ticket can be found, and at most {MAX_WORDS:,} words of all replies.",
            examples=["export march"],
        ),
    ] = None
    assignee: Annotated[
        list[Assignee],
        HasAssignee(),
        _repeatable(
            "Assignees: `me` for the caller, `none` for tickets without one, ids or e-mail addresses of users."
        ),
    ] = []
    admin_email: Annotated[
        list[KnownEmail],
        HasAssignee(),
        _repeatable("Use `assignee` instead. If both are sent, both must match."),
        DEPRECATED,
    ] = []
    requester: Annotated[
        list[Requester],
        HasRequester(),
        _repeatable("Requesters: e-mail addresses, their ids, or ids of their accounts."),
    ] = []
    customer_email: Annotated[
        list[KnownRequesterEmail],
        HasRequester(),
        _repeatable("Use `requester` instead. If both are sent, both must match."),
        DEPRECATED,
    ] = []
    status: Annotated[list[TicketStatus], IsAnyOf(Ticket.status), _repeatable("Statuses.")] = []
    priority: Annotated[list[TicketPriority], IsAnyOf(Ticket.priority), _repeatable("Priorities.")] = []
    created_after: Annotated[
        OptionalParameter[Timestamp],
        Compares(Ticket.created_at, ">"),
        Field(description="Created later than this time."),
    ] = None
    created_before: Annotated[
        OptionalParameter[Timestamp],
        Compares(Ticket.created_at, "<"),
        Field(description="Created earlier than this time."),
    ] = None
    updated_after: Annotated[
        OptionalParameter[Timestamp],
        Compares(Ticket.updated_at, ">"),
        Field(description="Changed later than this time."),
    ] = None
    updated_before: Annotated[
        OptionalParameter[Timestamp],
        Compares(Ticket.updated_at, "<"),
        Field(description="Last changed earlier than this time."),
    ] = None
    closed_after: Annotated[
        OptionalParameter[Timestamp], Compares(Ticket.closed_at, ">"), Field(description="Closed later than this time.")
    ] = None
    closed_before: Annotated[
        OptionalParameter[Timestamp],
        Compares(Ticket.closed_at, "<"),
        Field(description="Closed earlier than this time."),
    ] = None
    sort: Annotated[TicketSort, Field(description="The order; `-` means latest first.")] = TicketSort.CREATED_AT_DESC

    def values_for(self, caller: Caller) -> dict[str, list[Any]]:
        """Return the values of each filter that was sent, with the caller's id in place of `me`.

        Raises:
            BadInput: `me` was sent with a secret key, which stands for no user.
        """
        filters = self.values()
        if ME not in filters.get("assignee", ()):
            return filters
        match caller:
            case UserCaller(user=user):
                return filters | {"assignee": [user.id if one == ME else one for one in filters["assignee"]]}
            case _:
                raise BadInput.of_field(
                    "assignee", "`me` needs an access token: with a secret key, give the user's id."
                )


OPERATORS = find_operators(TicketFilters, TicketOperator)
