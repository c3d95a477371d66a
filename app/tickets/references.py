"""References: a ticket's number as users write it, such as `GROWFIN-42`."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from pydantic import PlainValidator, WithJsonSchema

from app.access.tenant import Tenant
from app.core.fields import EXAMPLE_ID
from app.organisations.rules import MAX_PREFIX_LENGTH, derive_reference_prefix


def make_reference(tenant: Tenant, number: int) -> str:
    """Return the reference of a ticket: the prefix of its organisation, and its number."""
    return f"{reference_prefix(tenant)}-{number}"


def reference_prefix(tenant: Tenant) -> str:
    """Return the first part of an organisation's references.

    It is made from the domain. If the domain has changed, it is the one of the first domain, since users know it.
    """
    return tenant.reference_prefix or derive_reference_prefix(tenant.domain)


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
