"""Conditional requests (RFC 9110, 13): entity tags, `If-Match` and `If-None-Match`."""

from __future__ import annotations

import re

from app.core import errors

_ENTITY_TAG = re.compile(r'\s*(?:W/)?("[^"]*")\s*(?:,|$)')


def make_etag(version: int) -> str:
    """Make the entity tag of a version."""
    return f'"{version}"'


def check_form(header: str | None) -> str | None:
    """Return the header `If-Match` unchanged.

    Raises:
        ValueError: it is not a list of entity tags.
    """
    if header is not None and header.strip() != "*" and _read_tags(header) is None:
        raise ValueError('This must be an entity tag such as "3".')
    return header


def check_if_match(if_match: str | None, version: int) -> None:
    """Compare `If-Match` with the version of a row. Weak tags are accepted like strong ones, since proxies weaken tags.

    Args:
        if_match: a list of entity tags, see `check_form`.

    Raises:
        VersionConflict: none of the tags is the current version.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if make_etag(version) not in (_read_tags(if_match) or ()):
        raise errors.VersionConflict


def is_unmodified(if_none_match: str | None, tag: str) -> bool:
    """Return whether `If-None-Match` contains the current entity tag. A malformed header contains none."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in (_read_tags(if_none_match) or ())


def _read_tags(header: str) -> list[str] | None:
    """Read a list of entity tags, without the prefix `W/` of weak ones; `None` if the list is malformed."""
    tags, end = [], 0
    while match := _ENTITY_TAG.match(header, end):
        tags.append(match[1])
        end = match.end()
        if end == len(header):
            return tags
    return None
