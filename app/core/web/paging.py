"""Keyset pagination: `{items, nextCursor}`. A cursor names the last row shown, signed so that only ours come back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from pydantic import MISSING, BeforeValidator, Field

from app.core.errors import BadInput, FieldError
from app.core.fields import OptionalParameter, RequestModel, ResponseModel

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
_SIGNATURE_BYTES = 16

T = TypeVar("T")


def _is_number(value: object) -> object:
    # Pydantic would take 1_0, +10 and 10.0 as well.
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("This is not a whole number.")
    return value


Limit = Annotated[
    int, Field(ge=1, le=MAX_LIMIT, description="The largest number of items to return."), BeforeValidator(_is_number)
]
CursorText = Annotated[
    OptionalParameter[str],
    # An empty one is somebody's missing value: to answer it with the first page would have them go round for ever.
    Field(min_length=1, max_length=1024, description="The `nextCursor` of the previous page, with the same filters."),
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
    next_cursor: Annotated[str | None, Field(description="Pass it as `cursor` for the next page; null on the last.")]


class CountedPage(Page[T], Generic[T]):
    """A page of a list, with the number of all matches if the request asked for it."""

    total: Annotated[
        int | MISSING, Field(description="How many items match in all. Only with `include=total`.", examples=[1])
    ] = MISSING


class InvalidCursor(BadInput):
    """The cursor was not made by this service for this list of this organisation."""

    code = "invalid_cursor"
    title = "The cursor does not belong to this list."

    def __init__(self) -> None:
        super().__init__(errors=[FieldError("cursor", "It does not belong to this list.")])


@dataclass(frozen=True)
class CursorSigner:
    """Writes and reads the cursors of one list: of one organisation, with one set of filters and one order.

    Args:
        key: the service's secret key.
        scope: whatever distinguishes this list from others.
    """

    key: bytes
    scope: bytes

    @classmethod
    def of(cls, key: str, org_id: UUID, name: str, filters: object) -> CursorSigner:
        """The signer of the list `name` of an organisation; `filters` is anything that JSON can hold."""
        described = orjson.dumps([str(org_id), name, filters], default=str)
        return cls(key.encode(), described)

    def write(self, *position: datetime | int | UUID) -> str:
        """The cursor after the row at this position."""
        payload = orjson.dumps(position, default=str)  # str: the driver's UUIDs are of a class of its own
        return base64.urlsafe_b64encode(self._signature(payload) + payload).decode().rstrip("=")

    def read(self, cursor: str) -> list[Any]:
        """The position that a cursor names, as JSON has it: times (RFC 3339) and UUIDs are texts.

        Raises:
            InvalidCursor: it is broken, or belongs to another list.
        """
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidCursor from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload)):
            raise InvalidCursor
        position: list[Any] = orjson.loads(payload)
        return position

    def _signature(self, payload: bytes) -> bytes:
        message = b"cursor\0" + self.scope + b"\0" + payload
        return hmac.new(self.key, message, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def cut(rows: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """Of `limit + 1` rows asked for, those to show, and whether there are more."""
    return rows[:limit], len(rows) > limit
