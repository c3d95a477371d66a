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

    `code` is stable and documented. A kind without a code is raised only as one of its subclasses. `title` describes
    the kind of failure, `detail` this occurrence. `members` are additional members of the problem document, such as a
    token to continue with. The table of codes is for integrators: it has the first line of the docstring, and the way
    out: what `title` says after its first sentence or colon, or else `advice`, where the title has none or the table
    can say more.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    advice: ClassVar[str] = ""
    member_descriptions: ClassVar[Mapping[str, str]] = {}  # of the members that the problem document can have, by name

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


def summarise(faults: Sequence[FieldError], total: int) -> str:
    """Describe faults in one line: the first one, and how many more there are.

    Args:
        faults: those that the problem document lists.
        total: the number of all faults.
    """
    first = f"{faults[0].field}: {faults[0].message}" if faults[0].field else faults[0].message
    if total > len(faults):
        return f"{first} There are {total - 1} more errors: `errors` lists the first {len(faults)} of all {total}."
    match total - 1:
        case 0:
            return first
        case 1:
            return f"{first} There is 1 more error: see `errors`."
        case others:
            return f"{first} There are {others} more errors: see `errors`."


class BadInput(TesseraError):
    """Parameters, fields or the body are not valid.

    `detail` states the fact: the kind's own title, or else a summary of the faults. If the fault is always in the same
    field, the kind names it as `field`.
    """

    code = "invalid_input"
    title = "The input is not valid."
    advice = "`errors` lists the faults, up to 50 of them. Correct them, and send the request again."
    field: ClassVar[str | None] = None

    def __init__(self, detail: str | None = None, *, errors: Sequence[FieldError] = ()) -> None:
        faults = list(errors)
        if self.field is not None and not faults:
            faults = [FieldError(self.field, detail or self.title)]
        if faults and self.title == BadInput.title:
            detail = detail or summarise(faults, len(faults))
        super().__init__(detail, errors=faults)

    @classmethod
    def of_field(cls, field: str, message: str | None = None) -> Self:
        """Make the error of one invalid field; without a message, the title is the message."""
        fault = FieldError(field, message or cls.title)
        return cls(message if cls.title != BadInput.title else None, errors=[fault])


class MalformedBody(TesseraError):
    """The body is not JSON in UTF-8, or an object in it has two members of the same name."""

    code = "malformed_body"
    title = "The body is not valid JSON. Correct it, and send the request again."


class UnsupportedMediaType(TesseraError):
    """The operation does not accept bodies of this `Content-Type`."""

    code = "unsupported_media_type"
    title = "The body has a media type that is not accepted here. Send it as `Content-Type: application/json`."
    advice = "`detail` names the media type to send."


class Unauthenticated(TesseraError):
    """The request has no valid credential. Subclasses say which one."""

    title = "A valid credential is required."


class Forbidden(TesseraError):
    """The credential is valid, but it does not permit the operation. Subclasses say why."""

    title = "This credential does not permit this operation."


class NotFound(TesseraError):
    """There is nothing at this address, or your organisation has no such resource."""

    code = "not_found"
    title = "The resource does not exist."
    advice = "Check the path and the ids in it."


class Conflict(TesseraError):
    """The current state does not allow the operation. Subclasses say why."""

    title = "The current state does not allow this operation."


class VersionConflict(TesseraError):
    """The resource has changed since the version that `If-Match` names."""

    code = "version_conflict"
    title = "The resource has changed since the version in If-Match: read it again."
    advice = "Read it again, and repeat the change on the new version."


class TooMany(TesseraError):
    """There were too many attempts.

    Args:
        retry_after: seconds until the next attempt is allowed.
    """

    code = "rate_limited"
    title = "Too many attempts. Wait before the next one."
    advice = "Wait for the seconds that `Retry-After` names, then try again."

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many attempts. Try again in {retry_after} s.")
        self.retry_after = retry_after


class Unavailable(TesseraError):
    """The service cannot handle the request at the moment."""

    code = "unavailable"
    title = "The service is temporarily unavailable. Try again shortly."
    advice = "Send it again after the seconds that `Retry-After` names."
