"""The catalogue of error codes, made from the classes of errors, for the documentation."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from app.core.errors import TesseraError
from app.core.web.cors import ORIGIN_NOT_ALLOWED
from app.core.web.problems import CODES_BY_STATUS, get_status
from app.core.web.refusals import HEADERS_TOO_LARGE, INTERNAL_ERROR, OVERLOADED, URI_TOO_LONG

_END_OF_FACT = re.compile("[.:] ")  # in a title
_OPERATION = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) /[\w/{}-]+")
_FRAMEWORK_MEANINGS = {
    400: "The request is not valid HTTP, or its body cannot be read. Check how the client writes it.",
    404: "There is nothing at this address. Check the path.",
    405: "The address does not support the method. `Allow` names those that it supports.",
    408: "The body or the headers did not arrive in time. Send the request again.",
    413: "The body has too many bytes. Send a smaller one.",
}


class ErrorCode(NamedTuple):
    """A code that a problem document can have; `meaning` is one paragraph of Markdown: the fact and the way out."""

    status: int
    code: str
    title: str
    meaning: str


def list_error_codes() -> list[ErrorCode]:
    """List all codes, by status and code; the modules that define errors must have been imported."""
    found = {code.code: code for code in (*_list_framework_codes(), *_list_edge_codes(), *_list_domain_codes())}
    return sorted(found.values())


def list_error_members() -> dict[str, str]:
    """List the extension members that problem documents can have: descriptions by name."""
    return {name: text for kind in list_error_classes() for name, text in kind.member_descriptions.items()}


def make_error_table() -> str:
    """Write the catalogue as a Markdown table."""
    rows = [f"| `{one.code}` | {one.status} | {one.meaning} |" for one in list_error_codes()]
    return "\n".join(["| Code | Status | Meaning, and what to do |", "|---|---|---|", *rows])


def find_way_out(kind: type[TesseraError]) -> str:
    """Return what the client can do: the advice of the class itself, or else the part of its title after the fact."""
    if "advice" in vars(kind):
        return kind.advice
    _fact, *rest = _END_OF_FACT.split(kind.title, maxsplit=1)
    if not rest:
        raise TypeError(f"{kind.__qualname__} has neither advice nor a title that states the way out")
    return _OPERATION.sub(r"`\g<0>`", rest[0][0].upper() + rest[0][1:])


def _list_framework_codes() -> Iterator[ErrorCode]:
    for status, (code, title) in CODES_BY_STATUS.items():
        yield ErrorCode(status, code, title, _FRAMEWORK_MEANINGS[status])


def _list_edge_codes() -> Iterator[ErrorCode]:
    for refusal in (URI_TOO_LONG, HEADERS_TOO_LARGE, OVERLOADED, INTERNAL_ERROR, ORIGIN_NOT_ALLOWED):
        yield ErrorCode(refusal.status, refusal.code, refusal.title, refusal.detail)


def _list_domain_codes() -> Iterator[ErrorCode]:
    for kind in list_error_classes():
        if "code" in vars(kind):  # other classes have the code of a more general error, or are not raised themselves
            fact = (inspect.getdoc(kind) or "").partition("\n")[0]
            yield ErrorCode(get_status(kind), kind.code, kind.title, f"{fact} {find_way_out(kind)}")


def list_error_classes() -> Iterator[type[TesseraError]]:
    """Yield the classes of the service's own package, parents first."""
    package = TesseraError.__module__.partition(".")[0]
    waiting = [TesseraError]
    while waiting:
        kind = waiting.pop(0)
        waiting.extend(kind.__subclasses__())
        if kind.__module__.partition(".")[0] == package:
            yield kind
