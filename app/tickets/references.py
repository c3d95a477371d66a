"""References: a ticket's number as users write it, such as `GROWFIN-42`."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import PlainValidator, WithJsonSchema

from app.core.fields import EXAMPLE_ID

_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")
MAX_PREFIX_LENGTH = 10


def make_reference(domain: str, number: int) -> str:
    """Return the reference of a ticket: the prefix of its organisation's domain, and its number."""
    return f"{reference_prefix(domain)}-{number}"


def reference_prefix(domain: str) -> str:
    """Make the first part of ticket references from a domain's first label: capitals and digits, at most ten."""
    label = domain.partition(".")[0].upper()
    return _NOT_ALPHANUMERIC.sub("", label)[:MAX_PREFIX_LENGTH] or "T"


_REFERENCE = re.compile(
    rf"(?P<prefix>[A-Z0-9]{{1,{MAX_PREFIX_LENGTH}}})-(?P<number>[1-9][0-9]{{0,8}})", re.IGNORECASE | re.ASCII
)


class TicketReference:
    """The two parts of a reference. A plain class, so that it gets no schema in OpenAPI."""

    def __init__(self, prefix: str, number: int) -> None:
        self.prefix, self.number = prefix, number


def parse_ticket_key(value: object) -> UUID | TicketReference:
    """Parse a ticket's id or its reference, in any case.

    Raises:
        ValueError: it is neither.
    """
    text = str(value)
    if found := _REFERENCE.fullmatch(text):
        return TicketReference(found["prefix"].upper(), int(found["number"]))
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(
            f"This must be a ticket's id (a UUID), such as {EXAMPLE_ID}, or its reference, such as GROWFIN-42."
        ) from None


TicketKey = Annotated[
    UUID | TicketReference,
    PlainValidator(parse_ticket_key),
    WithJsonSchema({"type": "string", "examples": [EXAMPLE_ID]}),
]
