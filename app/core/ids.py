"""Identifiers of rows."""

from __future__ import annotations

from uuid import UUID

import uuid_utils
from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Make a UUIDv7 (RFC 9562): unique, and sorted by the millisecond of its creation."""
    return uuid7()


def new_id_digits() -> str:
    """Make the 32 hexadecimal digits of a new id, in a fraction of the time that the id itself takes."""
    return uuid_utils.uuid7().hex


def read_creation_time(identifier: UUID) -> float:
    """Return the creation time of a UUIDv7, in seconds since the epoch, to the millisecond."""
    return (identifier.int >> 80) / 1000
