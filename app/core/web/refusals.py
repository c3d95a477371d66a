"""The refusals of the edge: problem documents that the edge sends itself, and the size limits that it enforces."""

from __future__ import annotations

from typing import NamedTuple

MAX_URL_BYTES = 8 * 1024  # path and query; RFC 9110 (4.1) requires at least 8,000
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024  # names and values together
CLOSE = {"Connection": "close"}


class Refusal(NamedTuple):
    """A problem document (RFC 9457) that the edge sends itself."""

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] | None = None


BAD_HOST = Refusal(
    400,
    "bad_request",
    "The request is malformed.",
    "A request must have one valid Host header.",
    CLOSE,
)
BAD_TRANSFER_ENCODING = Refusal(
    400,
    "bad_request",
    "The request is malformed.",
    "The only supported Transfer-Encoding is chunked.",
    CLOSE,
)
INTERNAL_ERROR = Refusal(
    500,
    "internal_error",
    "The service failed unexpectedly.",
    "The service failed, and logged the request id. Try again, and report the id if it fails again.",
)
OVERLOADED = Refusal(
    503,
    "overloaded",
    "The service is overloaded.",
    "The service has too many requests. Send this one again after the seconds in Retry-After.",
    {"Retry-After": "1"},
)
STOPPING = Refusal(
    503,
    "unavailable",
    "The service is temporarily unavailable. Try again shortly.",
    "The service is stopping. Send the request again after the seconds in Retry-After.",
    {"Retry-After": "1", **CLOSE},
)
URI_TOO_LONG = Refusal(
    414,
    "uri_too_long",
    "The address is too long.",
    f"Path and query may have at most {MAX_URL_BYTES} bytes. Send less.",
)
HEADERS_TOO_LARGE = Refusal(
    431,
    "headers_too_large",
    "The request's headers are too large.",
    f"A request may have at most {MAX_HEADERS} headers with {MAX_HEADER_BYTES} bytes in all. Send less.",
)
