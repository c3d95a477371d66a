"""Keyset pagination: `{items, nextCursor}` and a `Link` to the next page.

A cursor holds the position of the last row of a page. It is signed, so that it can neither be changed nor used for
another list.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode
from uuid import UUID

import orjson
from fastapi import Request, Response
from pydantic import MISSING, AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from app.core.errors import BadInput
from app.core.fields import EXAMPLE_ID, OptionalParameter, RequestModel, ResponseModel
from app.core.search_texts import SearchText
from app.core.security.derived_keys import derive_key

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
_SIGNATURE_BYTES = 16
_EXAMPLE_CURSOR = "HTZ5bEK2mV0Xn8dYcR1qTVs0Ml0"

T = TypeVar("T")
Row = TypeVar("Row")
Position = TypeVar("Position")
AnyPage = TypeVar("AnyPage", bound="CountedPage[Any]")
AnySearchPage = TypeVar("AnySearchPage", bound="SearchPage[Any]")


def _is_number(value: object) -> object:
    # Pydantic accepts 1_0, +10 and 10.0 as well.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("This is not a whole number.")
    return value


Limit = Annotated[
    int, Field(ge=1, le=MAX_LIMIT, description="The largest number of items to return."), BeforeValidator(_is_number)
]


def _decode(cursor: str) -> bytes:
    """Return the signature and the payload of a cursor.

    Raises:
        ValueError: it is not in the form of a cursor.
    """
    raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    if len(raw) <= _SIGNATURE_BYTES:
        raise ValueError("This is too short for a cursor.")
    return raw


def _check_form(cursor: str | None) -> str | None:
    # A cursor of another list has the same form: only `CursorSigner.read` can refuse it, once all filters are valid.
    if cursor is not None:
        try:
            _decode(cursor)
        except ValueError:
            raise PydanticCustomError(InvalidCursor.code, InvalidCursor.title) from None
    return cursor


CursorText = Annotated[
    OptionalParameter[str],
    # An empty cursor is a mistake of the client. If it got the first page, it would loop forever.
    Field(min_length=1, max_length=1024, description="The `nextCursor` of the previous page, with the same filters."),
    AfterValidator(_check_form),
]


class PageQuery(RequestModel):
    """Select a page of a list."""

    limit: Limit = DEFAULT_LIMIT
    cursor: CursorText = None


class CountedPageQuery(PageQuery):
    """Select a page of a list, and whether to count all matches."""

    include: Annotated[
        OptionalParameter[Literal["total"]], Field(description="`total` also counts all matches, which takes longer.")
    ] = None


class Page(ResponseModel, Generic[T]):
    """A page of a list."""

    items: Annotated[list[T], Field(description="The items of this page, in the order of the list.")]
    next_cursor: Annotated[
        str | None,
        Field(
            description="Pass it as `cursor` to get the next page; null on the last page.", examples=[_EXAMPLE_CURSOR]
        ),
    ]


class CountedPage(Page[T], Generic[T]):
    """A page of a list, with the number of all matches if the request asked for it."""

    total: Annotated[
        int | MISSING, Field(description="The total number of matching items. Only with `include=total`.", examples=[1])
    ] = MISSING


class SearchPage(CountedPage[T], Generic[T]):
    """A page of a list that can be searched, with a note about the search if there is something to tell."""

    note: Annotated[
        str | MISSING,
        Field(
            description="What limits the result of the search `q`: that it has no words, which of its words were left "
            "out, or that more requesters match than are searched for. Absent otherwise.",
            examples=["Only the 8 rarest words of the search text were looked for, without: as, on."],
        ),
    ] = MISSING


class InvalidCursor(BadInput):
    """The cursor was not issued for this list of this organisation, or it was changed."""

    code = "invalid_cursor"
    title = "The cursor does not belong to this list. Start again without a cursor."
    advice = "Start again without a cursor, and change no filters between pages."
    field = "cursor"


@dataclass(frozen=True)
class CursorSigner:
    """Write and read the cursors of one list: of one organisation, with one set of filters and one order.

    Args:
        scope: the bytes that identify the list.
    """

    key: bytes
    scope: bytes

    @classmethod
    def of(cls, secret_key: str, org_id: UUID, name: str, filters: object) -> CursorSigner:
        """Make the signer of a list of an organisation. `filters` is anything that JSON can hold."""
        scope = orjson.dumps([str(org_id), name, filters], default=str)
        return cls(derive_key(secret_key, "cursor"), scope)

    def write(self, *position: datetime | int | UUID) -> str:
        """Write the cursor of the row at this position."""
        payload = orjson.dumps(position, default=str)  # str: orjson does not know the driver's class for UUIDs
        return base64.urlsafe_b64encode(self._signature(payload) + payload).decode().rstrip("=")

    def read(self, cursor: str) -> list[Any]:
        """Read the position from a cursor, as JSON has it: times (RFC 3339) and UUIDs are strings.

        Raises:
            InvalidCursor: the cursor is broken, or belongs to another list.
        """
        try:
            raw = _decode(cursor)
        except ValueError:
            raise InvalidCursor from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload)):
            raise InvalidCursor
        position: list[Any] = orjson.loads(payload)
        return position

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self.key, self.scope + b"\0" + payload, "sha256")[:_SIGNATURE_BYTES]


@dataclass(frozen=True)
class Paging:
    """The page of a list that a request asks for.

    A route reads at most `fetch_limit` rows from the position `after(…)`, and returns `page(…)`. A route that writes
    its JSON itself uses `split_page` and `link_headers` instead of `page`.
    """

    request: Request
    query: PageQuery
    signer: CursorSigner

    @classmethod
    def of(
        cls, request: Request, query: PageQuery, secret_key: str, org_id: UUID, name: str, *, filters: object = None
    ) -> Paging:
        """Prepare a page of the list `name` of an organisation. `filters` is anything that JSON can hold."""
        return cls(request, query, CursorSigner.of(secret_key, org_id, name, filters))

    def after(self, parse: Callable[..., Position]) -> Position | None:
        """Read the position after which the page starts, or `None` for the first page.

        Args:
            parse: the function that makes the position from the parts of the cursor.

        Raises:
            InvalidCursor
        """
        return parse(*self.signer.read(self.query.cursor)) if self.query.cursor else None

    @property
    def fetch_limit(self) -> int:
        """The number of rows to read: one more than the page has, to find out whether a next page exists."""
        return self.query.limit + 1

    def split_page(
        self, rows: Sequence[Row], position: Callable[[Row], tuple[datetime | int | UUID, ...]]
    ) -> tuple[Sequence[Row], str | None]:
        """Split the fetched rows into those of the page and the cursor of the next one, if there is one."""
        page = rows[: self.query.limit]
        return page, self.signer.write(*position(page[-1])) if len(rows) > self.query.limit else None

    def link_headers(self, next_cursor: str | None) -> dict[str, str]:
        """Make the `Link` header (RFC 8288) to the next page: this request with another cursor."""
        if next_cursor is None:
            return {}
        query = [(name, value) for name, value in self.request.query_params.multi_items() if name != "cursor"]
        address = f"{quote(self.request.scope['path'])}?{urlencode([*query, ('cursor', next_cursor)])}"
        return {"Link": f'<{address}>; rel="next"'}

    def page(
        self,
        response: Response,
        page_type: type[AnyPage],
        rows: Sequence[Row],
        to_item: Callable[[Row], Any],
        *,
        position: Callable[[Row], tuple[datetime | int | UUID, ...]],
        total: int | None = None,
    ) -> AnyPage:
        """Make the page from the fetched rows, and add the `Link` header to the response.

        Args:
            position: returns the position of a row in the list, in the form that `after` reads.
            total: the number of all rows that match, if the client asked for it.
        """
        shown, next_cursor = self.split_page(rows, position)
        response.headers.update(self.link_headers(next_cursor))
        page = page_type(items=[to_item(row) for row in shown], next_cursor=next_cursor)
        if total is not None:
            page.total = total
        return page


def add_note(page: AnySearchPage, q: str | None) -> AnySearchPage:
    """Add to a page what the client must know about the search text `q`, if anything; return the page."""
    if q is not None and (note := SearchText.parse(q).note):
        page.note = note
    return page


def document_link(operation: Mapping[str, Any], path: str) -> None:
    """Add the `Link` header to the documented response of an operation, if the operation is a list.

    The example continues that of the response, which is a page of one item.

    Args:
        path: the path of the operation, with its parameters in braces.
    """
    if any(parameter["name"] == "cursor" for parameter in operation.get("parameters", ())):
        address = f"{path.format(id=EXAMPLE_ID)}?limit=1&cursor={_EXAMPLE_CURSOR}"
        operation["responses"]["200"].setdefault("headers", {})["Link"] = {
            "description": "The address of the next page (RFC 8288). Absent on the last page.",
            "schema": {"type": "string"},
            "example": f'<{address}>; rel="next"',
        }
