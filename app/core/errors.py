"""What can go wrong, by kind. A domain's error subclasses a kind and names its `code`; `http.py` knows the statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FieldError:
    """One wrong field of the input: its path in camelCase, and what is wrong with it."""

    field: str
    message: str


class TesseraError(Exception):
    """An expected failure.

    `code` is stable and documented, `title` says it in general, and the message (`detail`) says it of this case.
    `members` are what else whoever is refused needs to know, such as how to go on.
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
    """The input cannot be accepted as it is."""

    code = "invalid_input"
    title = "The input is not valid."


class Unauthenticated(TesseraError):
    """There is no credential, or it is not a good one."""

    code = "unauthenticated"
    title = "A valid credential is needed."


class Forbidden(TesseraError):
    """The credential is good; what it asks for is not its right."""

    code = "forbidden"
    title = "This credential may not do this."


class NotFound(TesseraError):
    """There is no such row in the caller's organisation."""

    code = "not_found"
    title = "There is no such thing here."


class Conflict(TesseraError):
    """The state of things does not allow it."""

    code = "conflict"
    title = "The present state does not allow this."


class VersionConflict(TesseraError):
    """The row has changed since the version that `If-Match` names."""

    code = "version_conflict"
    title = "It has changed since the version you have: read it again."


class TooMany(TesseraError):
    """A limit is used up; `retry_after` is in seconds."""

    code = "rate_limited"
    title = "Too many attempts: wait before the next one."

    def __init__(self, retry_after: int, *, limit: int, window: int) -> None:
        super().__init__()
        self.retry_after = retry_after
        self.limit = limit
        self.window = window


class Unavailable(TesseraError):
    """The service cannot do it now; the same call may succeed in a few seconds."""

    code = "unavailable"
    title = "The service cannot answer right now: try again shortly."
