"""Define the base classes and field types that request and response schemas are made of."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, TypeVar, cast
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.core.patterns import Matches

MAX_TEXT_LENGTH = 20_000
SUPPORTED_YEARS = range(1970, 9001)
# Files in an operating system's zone folder that are not zones of the IANA database.
NON_IANA_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# In a query, an unencoded + is a space.
_PLUS_AS_SPACE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})? \d\d:\d\d", re.ASCII)
EXAMPLE_ID = "0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20"  # in the documentation

T = TypeVar("T")


class _NullHidden:
    """Hide null in the JSON schema of an optional value. Unlike `SkipJsonSchema`, it leaves validation as it is."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema["schema"] if schema["type"] == "nullable" else schema)


# A parameter of a query or a header: `None` if it is not sent. Neither can express null, so OpenAPI does not show it.
OptionalParameter = Annotated[T | None, _NullHidden()]
# Marks a field that is kept only for the first clients.
# Unlike `Field(deprecated=True)`, it does not warn when our own code reads it.
DEPRECATED = Field(json_schema_extra={"deprecated": True})


class RequestModel(BaseModel):
    """Base of schemas that clients send: names in camelCase; unknown fields are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """Base of schemas that clients receive: names in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


# Not allowed in any text. The noncharacters are U+FDD0 to U+FDEF, and the last two of each plane.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
# These invisible characters change the direction of all text after them.
_DIRECTION_OVERRIDE = re.compile("[\u202a-\u202e\u2066-\u2069]")
# What text that was pasted from other programs has between lines.
_LINE_BREAK = re.compile("\r\n|[\r\v\f\x85]")
_ANY_LINE_BREAK = re.compile("\r\n|[\n\r\v\f\x85\u2028\u2029]")
# Dropped with the spaces around it: what is stored must stay as it is when a client sends it back.
_LEADING_BYTE_ORDER_MARKS = re.compile("[\\s\ufeff]*\ufeff")


def describe_forbidden_character(found: re.Match[str], name: str = "control character") -> str:
    """Name the character that was found in a text, and its position."""
    name = "lone surrogate" if "\ud800" <= found[0] <= "\udfff" else name
    return f"The {name} U+{ord(found[0]):04X} at position {found.start() + 1} is not allowed: remove it."


def _refuse(characters: re.Pattern[str], text: str, name: str) -> None:
    if found := characters.search(text):
        raise ValueError(describe_forbidden_character(found, name))


def _drop_byte_order_marks(value: str) -> str:
    found = _LEADING_BYTE_ORDER_MARKS.match(value)
    return value[found.end() :] if found else value


def _clean_text(value: object) -> object:
    """Unify the line breaks of a text, and drop a leading byte order mark.

    Raises:
        ValueError: it contains a control character other than tab and line breaks, a noncharacter, or a lone surrogate.
    """
    if not isinstance(value, str):
        return value
    _refuse(_CONTROL, value, "control character")
    _refuse(_NONCHARACTER, value, "noncharacter")
    return _LINE_BREAK.sub("\n", _drop_byte_order_marks(value))


def clean_line(value: object) -> object:
    """Replace each line break of a text by a space, and drop a leading byte order mark.

    Raises:
        ValueError: it contains a control character other than tab and line breaks, a noncharacter, a lone surrogate, or
            a character that changes the direction of the text.
    """
    if not isinstance(value, str):
        return value
    _refuse(_CONTROL, value, "control character")
    _refuse(_NONCHARACTER, value, "noncharacter")
    _refuse(_DIRECTION_OVERRIDE, value, "direction override")
    return _ANY_LINE_BREAK.sub(" ", _drop_byte_order_marks(value))


MAX_EXACT_NUMBER = 2**63  # larger integers in JSON arrive as floats


def _restore_large_integer(value: object) -> object:
    is_large = isinstance(value, float) and math.isfinite(value) and abs(value) >= MAX_EXACT_NUMBER
    return int(cast("float", value)) if is_large else value


# For a bounded `StrictInt`, after its bounds: the error for a number that is too large then names them.
OF_ANY_SIZE = BeforeValidator(_restore_large_integer)


def is_visible(text: str) -> bool:
    """Return whether a text has a character that can be seen, other than combining marks."""
    return not all(unicodedata.category(character)[0] in "CZM" for character in text)


def _require_visible(value: str) -> str:
    if not is_visible(value):
        raise ValueError("This contains no visible character.")
    return value


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    BeforeValidator(clean_line),
    AfterValidator(_require_visible),
]


def _clean_search(value: object) -> object:
    """Do what `clean_line` does, but accept characters that change the direction: subjects of our mails have them."""
    if not isinstance(value, str):
        return value
    _refuse(_CONTROL, value, "control character")
    _refuse(_NONCHARACTER, value, "noncharacter")
    return _ANY_LINE_BREAK.sub(" ", _drop_byte_order_marks(value))


MAX_SEARCH_LENGTH = 500
SearchInput = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SEARCH_LENGTH),
    BeforeValidator(_clean_search),
    AfterValidator(_require_visible),
]
# May be empty.
OptionalName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=100),
    BeforeValidator(clean_line),
    AfterValidator(lambda value: value and _require_visible(value)),
]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), BeforeValidator(clean_line)
]
LongText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_LENGTH),
    BeforeValidator(_clean_text),
]


@cache
def _timezones() -> frozenset[str]:
    # Python reads about 600 files for each call.
    return frozenset(available_timezones()) - NON_IANA_ZONES


def _check_timezone(value: str) -> str:
    if value not in _timezones():
        raise ValueError("This is not a time zone of the IANA database, such as Europe/Berlin.")
    return value


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_check_timezone)]


def _to_utc(value: datetime) -> datetime:
    try:
        in_utc = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("This time is out of range.") from None
    if in_utc.year not in SUPPORTED_YEARS:
        raise ValueError("This time is out of range.")
    return in_utc


def to_rfc3339(value: datetime) -> str:
    """Format a time as RFC 3339 in UTC, with `Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _check_rfc3339(value: object) -> object:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        if _PLUS_AS_SPACE.fullmatch(value):
            raise ValueError("The + of the time zone offset arrived as a space: encode it as %2B.")
        raise ValueError("This is not a time such as 2026-03-02T09:30:00Z (RFC 3339).")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_check_rfc3339), AfterValidator(_to_utc)]
UtcTimestamp = Annotated[
    datetime, PlainSerializer(to_rfc3339), WithJsonSchema({"type": "string", "format": "date-time"})
]
CreatedAt = Annotated[UtcTimestamp, Field(description="When it was created.")]
UpdatedAt = Annotated[UtcTimestamp, Field(description="When it was last changed.")]


# BCP 47 (RFC 5646), in the recommended case: a language, optionally a script and a region.
_LOCALE_PATTERN = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"
Locale = Annotated[
    str,
    StringConstraints(max_length=16),
    Matches(_LOCALE_PATTERN, "This must be a language, optionally with a script and a region, such as en or de-AT."),
]
