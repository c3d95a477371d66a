"""References: a ticket's number as users write it, such as `GROWFIN-42`."""

from __future__ import annotations

import re

_NOT_ALPHANUMERIC = re.compile(r"[^A-Z0-9]")
MAX_PREFIX_LENGTH = 10


def make_reference(domain: str, number: int) -> str:
    """Return the reference of a ticket: the prefix of its organisation's domain, and its number."""
    return f"{reference_prefix(domain)}-{number}"


def reference_prefix(domain: str) -> str:
    """Make the first part of ticket references from a domain's first label: capitals and digits, at most ten."""
    label = domain.partition(".")[0].upper()
    return _NOT_ALPHANUMERIC.sub("", label)[:MAX_PREFIX_LENGTH] or "T"
