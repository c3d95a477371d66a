"""Conditional requests: entity tags and `If-Match` (RFC 9110, 13.1.1)."""

from __future__ import annotations

import re

from app.core import errors
from app.core.errors import FieldError

_ENTITY_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


def check_if_match(if_match: str | None, version: int) -> None:
    """Compare `If-Match` (RFC 9110, 13.1.1) with a row's version.

    Raises:
        BadInput: it is not a list of entity tags.
        VersionConflict: none of them is the present version.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags, end = [], 0
    while match := _ENTITY_TAG.match(if_match, end):
        tags.append(match)
        end = match.end()
        if end == len(if_match):
            break
    if not tags or end != len(if_match):
        fault = FieldError("If-Match", 'It must be an entity tag such as "3".')
        raise errors.BadInput(f"If-Match: {fault.message}", errors=[fault])
    if not any(not tag[1] and tag[2] == str(version) for tag in tags):
        raise errors.VersionConflict


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'
