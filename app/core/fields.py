"""Define the base classes and field types that request and response schemas are made of."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, TypeVar, cast
from zoneinfo import available_timezones

import email_validator
import idna
from email_validator import EmailNotValidError, validate_email
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

from app.core.lookalikes import map_widths, refuse_lookalike
from app.core.patterns import Matches

MAX_EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1, less the angle brackets
# The domain of the addresses that replace erased ones. Mail to it never arrives anywhere (RFC 2606).
RESERVED_EMAIL_DOMAIN = "erased.invalid"
MAX_TEXT_LENGTH = 20_000
SUPPORTED_YEARS = range(1970, 9001)
# Files in an operating system's zone folder that are not zones of the IANA database.
NON_IANA_ZONES = frozenset({"localtime", "posixrules", "Factory"})
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# In a query, an unencoded + is a space.
_PLUS_AS_SPACE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})? \d\d:\d\d", re.ASCII)
EXAMPLE_ID = "0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20"  # in the documentation

# Company networks use names such as `.local` and `.test` as mail domains.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

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


# Not allowed in any text.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
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
        ValueError: it contains a control character other than tab and line breaks, or a lone surrogate.
    """
    if not isinstance(value, str):
        return value
    _refuse(_CONTROL, value, "control character")
    return _LINE_BREAK.sub("\n", _drop_byte_order_marks(value))


def clean_line(value: object) -> object:
    """Replace each line break of a text by a space, and drop a leading byte order mark.

    Raises:
        ValueError: it contains a control character other than tab and line breaks, a lone surrogate, or a character
            that changes the direction of the text.
    """
    if not isinstance(value, str):
        return value
    _refuse(_CONTROL, value, "control character")
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


_NOT_AN_EMAIL = "This is not an e-mail address, such as mia@customer.example."


@lru_cache(maxsize=10_000)  # the check is slow, and the same few addresses recur
def normalise_email(value: str) -> str:
    """Check an e-mail address; return it in lower case and of usual width, the form that is stored and compared.

    Raises:
        ValueError: it is not a valid address.
    """
    try:
        # Only sending mail shows whether the domain exists. Domains of a local network are accepted.
        checked = validate_email(map_widths(value), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError(_NOT_AN_EMAIL) from None
    if checked.domain.rpartition(".")[2].isdigit():
        raise ValueError("This is not an e-mail address: the part after the @ is not a domain.")
    normalised = checked.normalized.lower()
    if len(normalised) > MAX_EMAIL_LENGTH:
        raise ValueError("This e-mail address is too long.")
    return normalised


# A local part of the characters of RFC 5322's atoms and of dots, which may be quoted.
_DOTTED_LOCAL_PART = re.compile(r"""("?)(?P<bare>[a-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64})\1""", re.IGNORECASE | re.ASCII)


def has_odd_dots(local_part: str) -> bool:
    """Return whether a local part has dots at an end or in a row, so that mail servers expect it in quotes."""
    return f".{local_part}.".count("..") > 0


@lru_cache(maxsize=10_000)
def normalise_requester_email(value: str) -> str:
    """Check an e-mail address of a requester, whose local part may have dots where RFC 5322 requires quotes.

    Japanese phone companies gave such addresses to their customers. Quotes are not part of what is stored.

    Raises:
        ValueError: it is not a valid address.
    """
    value = map_widths(value)
    local, _, domain = value.rpartition("@")
    dotted = _DOTTED_LOCAL_PART.fullmatch(local)
    if dotted is None:
        return normalise_email(value)
    bare = dotted["bare"].lower()
    if not has_odd_dots(bare):
        return normalise_email(f"{bare}@{domain}")
    _, _, normalised_domain = normalise_email(f"x@{domain}").rpartition("@")
    return f"{bare}@{normalised_domain}"


def is_deliverable(email: str) -> bool:
    """Return whether mail can be sent to an address: false for an address that replaced an erased one."""
    return not email.endswith(f"@{RESERVED_EMAIL_DOMAIN}")


def refuse_reserved_email(email: str) -> str:
    """Return the address unchanged.

    Raises:
        ValueError: it is of the domain that is reserved for addresses that replace erased ones.
    """
    if not is_deliverable(email):
        raise ValueError("This e-mail address is reserved.")
    return email


def refuse_lookalike_email(email: str) -> str:
    """Return a normalised address unchanged.

    Raises:
        ValueError: its local part could be mistaken for another.
    """
    refuse_lookalike(email.rpartition("@")[0])
    return email


# To find what has this address. It may be from the time before lookalikes were refused.
KnownEmail = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=320),
    BeforeValidator(clean_line),
    AfterValidator(normalise_email),
    AfterValidator(refuse_reserved_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]
KnownRequesterEmail = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=320),
    BeforeValidator(clean_line),
    AfterValidator(normalise_requester_email),
    AfterValidator(refuse_reserved_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]
# Of a new account or requester. Mail is sent to requesters; accounts need an address that every mail server takes.
Email = Annotated[KnownEmail, AfterValidator(refuse_lookalike_email)]
RequesterEmail = Annotated[KnownRequesterEmail, AfterValidator(refuse_lookalike_email)]


def normalise_domain(value: str) -> str:
    """Return a domain in lower case; an international one in its IDNA 2008 form (RFC 5891).

    Raises:
        ValueError: it is not a valid domain.
    """
    try:
        domain = idna.encode(value.removesuffix("."), uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise ValueError("This is not a domain such as growfin.com.") from None
    if domain.rpartition(".")[2].isdigit():
        raise ValueError("This is an address, not a domain such as growfin.com.")
    return domain


Domain = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=253),
    BeforeValidator(clean_line),
    AfterValidator(normalise_domain),
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
