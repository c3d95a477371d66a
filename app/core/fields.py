"""The kinds of fields that requests and answers are made of."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated
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
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

MAX_EMAIL_LENGTH = 254  # RFC 5321, 4.5.3.1, less the angle brackets
MAX_TEXT_LENGTH = 20_000
# Who has been erased has an address here: it is nobody else's, and no mail ever arrives (RFC 2606).
ERASED_DOMAIN = "erased.invalid"
YEARS = range(1970, 9001)
# What a machine's own folder of zones may hold besides.
NOT_OF_THE_DATABASE = frozenset({"localtime", "posixrules", "Factory"})
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
EXAMPLE_ID = "0190b8e5-7a3c-7d1e-9f42-3b6a5c8d1e20"  # in the documentation

# Names such as `.local` and `.test` are somebody's mail domain inside a company network.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class In(BaseModel):
    """The base of what clients send: camelCase names, and nothing that is not known."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", hide_input_in_errors=True)


class Out(BaseModel):
    """The base of what clients get: camelCase names."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def _unify_newlines(value: object) -> object:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


def refuse_control_characters(value: str) -> str:
    """The text as it is, unless it holds what no text should (ValueError)."""
    if _CONTROL.search(value):
        raise ValueError("Control characters other than tab and newline are not allowed.")
    return value


_Text = (BeforeValidator(_unify_newlines), AfterValidator(refuse_control_characters))


# What turns the direction of all text after it; where it comes from, nobody can see.
_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")


def _must_be_seen(value: str) -> str:
    if _OVERRIDES.search(value):
        raise ValueError("Characters that turn the direction of text are not allowed here.")
    if all(unicodedata.category(character)[0] in "CZM" for character in value):
        raise ValueError("There is nothing to be seen in this.")
    return value


def _refuse_line_breaks(value: str) -> str:
    if "\n" in value:
        raise ValueError("A name has one line.")
    return value


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    *_Text,
    AfterValidator(_must_be_seen),
    AfterValidator(_refuse_line_breaks),
]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), *_Text]
LongText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT_LENGTH), *_Text]


@lru_cache(maxsize=10_000)  # the same few users write again and again, and the check is slow
def normalise_email(value: str) -> str:
    """An address in the one form that is stored and compared: checked, with everything in lower case.

    Raises:
        ValueError: it cannot be an address.
    """
    try:
        # Whether its domain exists is found out by writing to it; names that only a local network knows are fine.
        checked = validate_email(value, check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as error:
        raise ValueError(f"This is not an e-mail address: {error}") from None
    if checked.domain.rpartition(".")[2].isdigit():
        raise ValueError("This is not an e-mail address: what follows the @ is no domain.")
    if checked.domain.lower() == ERASED_DOMAIN:
        raise ValueError("This e-mail address is nobody's.")
    normalised = checked.normalized.lower()
    if len(normalised) > MAX_EMAIL_LENGTH:
        raise ValueError("This e-mail address is too long.")
    return normalised


Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=320),
    AfterValidator(refuse_control_characters),
    AfterValidator(normalise_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]


SecretField = Annotated[
    str | None,
    Field(max_length=200, description="The organisation's secret, where it is not in the header `X-Org-Secret`."),
]


def normalise_domain(value: str) -> str:
    """A domain in lower case and, where it is international, in its IDNA 2008 form (RFC 5891).

    Raises:
        ValueError: it cannot be a domain.
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
    AfterValidator(refuse_control_characters),
    AfterValidator(normalise_domain),
]


@cache
def _timezones() -> frozenset[str]:
    # Each time it is asked, Python looks into some 600 files.
    return frozenset(available_timezones()) - NOT_OF_THE_DATABASE


def _is_timezone(value: str) -> str:
    if value not in _timezones():
        raise ValueError("This is not a time zone of the IANA database, such as Europe/Berlin.")
    return value


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_is_timezone)]


def _to_utc(value: datetime) -> datetime:
    try:
        in_utc = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("This time is out of range.") from None
    if in_utc.year not in YEARS:
        raise ValueError("This time is out of range.")
    return in_utc


def rfc3339(value: datetime) -> str:
    """A time as it is written everywhere: RFC 3339, in UTC, with `Z`."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_rfc3339(value: object) -> object:
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("This is not a time such as 2026-03-02T09:30:00Z (RFC 3339).")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_is_rfc3339), AfterValidator(_to_utc)]
OutTime = Annotated[datetime, PlainSerializer(rfc3339), WithJsonSchema({"type": "string", "format": "date-time"})]
