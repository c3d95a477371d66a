"""Identifiers."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): unique, and sorted by the millisecond it was made in."""
    return uuid7()


def made_at(identifier: UUID) -> float:
    """When a UUIDv7 was made: seconds since the epoch, to the millisecond."""
    return (identifier.int >> 80) / 1000
