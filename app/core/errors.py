"""The kinds of expected failures. Domain errors subclass a kind and set `code`; `web/problems.py` has the statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


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


def summarise(faults: Sequence[FieldError]) -> str:
    """Describe faults in one line: the first one, and how many more there are."""
    first = f"{faults[0].field}: {faults[0].message}" if faults[0].field else faults[0].message
    match len(faults) - 1:
        case 0:
            return first
        case 1:
            return f"{first} There is 1 more fault: see errors."
        case others:
            return f"{first} There are {others} more faults: see errors."


class BadInput(TesseraError):
    """The input is invalid.

    `detail` states the fact: the title of a kind that has its own, and otherwise the summary of the faults. A kind
    whose fault is always in the same field names it as `field`.
    """

    code = "invalid_input"
    title = "The input is not valid."
    field: ClassVar[str | None] = None

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        faults = list(errors)
        if self.field is not None and not faults:
            faults = [FieldError(self.field, detail or self.title)]
        if faults and self.title == BadInput.title:
            detail = detail or summarise(faults)
        super().__init__(detail, errors=faults)

    @classmethod
    def of_field(cls, field: str, message: str | None = None) -> Self:
        """Make the error of one invalid field; without a message, the title is the message."""
        fault = FieldError(field, message or cls.title)
        return cls(message if cls.title != BadInput.title else None, errors=[fault])


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
