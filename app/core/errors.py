"""The kinds of expected failures. Domain errors subclass a kind and set `code`; `web/problems.py` has the statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """An invalid field of the input: its path in camelCase, and the reason."""

    field: str
    message: str


class TesseraError(Exception):
    """An expected failure, reported to the client as a problem document (RFC 9457).

    `code` is stable and documented. `title` describes the kind of failure, `detail` this occurrence. `members` are
    additional members of the problem document, such as a token to continue with.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    member_descriptions: ClassVar[Mapping[str, str]] = {}  # of all `members` that it may have

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: list[FieldError] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.title
        self.errors = errors or []
        self.members = members or {}
        assert self.members.keys() <= self.member_descriptions.keys(), "a member must be documented"
        super().__init__(self.detail)


class BadInput(TesseraError):
    """The input is invalid."""

    code = "invalid_input"
    title = "The input is not valid."


class Unauthenticated(TesseraError):
    """The credential is missing or invalid."""

    code = "unauthenticated"
    title = "A valid credential is required."


class Forbidden(TesseraError):
    """The credential is valid but lacks the permission."""

    code = "forbidden"
    title = "This credential does not permit this operation."


class NotFound(TesseraError):
    """The row does not exist in the caller's organisation."""

    code = "not_found"
    title = "The resource does not exist."


class Conflict(TesseraError):
    """The current state does not allow the operation."""

    code = "conflict"
    title = "The current state does not allow this operation."


class VersionConflict(TesseraError):
    """The row has changed since the version that `If-Match` names."""

    code = "version_conflict"
    title = "The resource has changed since the version in If-Match: read it again."


class TooMany(TesseraError):
    """A rate limit is exceeded. `retry_after` and `window` are in seconds."""

    code = "rate_limited"
    title = "Too many attempts: wait before the next one."

    def __init__(self, retry_after: int, *, limit: int, window: int) -> None:
        super().__init__()
        self.retry_after = retry_after
        self.limit = limit
        self.window = window


class Unavailable(TesseraError):
    """The service is temporarily unable to handle the request; a retry may succeed in a few seconds."""

    code = "unavailable"
    title = "The service is temporarily unavailable: try again shortly."
