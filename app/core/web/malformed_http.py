"""Describe what is wrong with a request that is not valid HTTP/1.1."""

from __future__ import annotations

from httptools import HttpParserInvalidMethodError, HttpParserInvalidURLError

_INVALID_URL = "The address in the request line is malformed: encode it as RFC 3986 requires."
_CHUNK = "The body has a malformed chunk."
_HEADER = "A header line is malformed."
# By the beginning of the parser's message.
_FAULTS = {
    "Invalid character in chunk size": "The size of a chunk of the body must be a hexadecimal number.",
    "Invalid character in chunk": _CHUNK,
    "Expected LF after chunk": _CHUNK,
    "Chunk size overflow": "The size of a chunk of the body is too large.",
    "Duplicate Content-Length": "The request has more than one Content-Length header.",
    "Invalid character in Content-Length": "The Content-Length header must be a decimal number.",
    "Content-Length overflow": "The number in the Content-Length header is too large.",
    "Empty Content-Length": "The Content-Length header must be a decimal number.",
    "Transfer-Encoding can't be present": "The request has both Content-Length and Transfer-Encoding: send one.",
    "Content-Length can't be present": "The request has both Content-Length and Transfer-Encoding: send one.",
    "Request has invalid `Transfer-Encoding`": "The only supported Transfer-Encoding is chunked.",
    "Invalid HTTP version": "The version in the request line must be HTTP/1.0 or HTTP/1.1.",
    "Expected HTTP/": "The request line must be a method, an address without spaces and HTTP/1.1.",
    "Expected space after method": "The request line must be a method, an address without spaces and HTTP/1.1.",
    "Expected CRLF after version": "The request line must end in CRLF.",
    "Pause on PRI/Upgrade": "HTTP/2 is not supported here: send HTTP/1.1.",
    "Invalid header token": "The name of a header has a character that is not allowed.",
    "Invalid header value char": "The value of a header has a character that is not allowed.",
    "Unexpected space after start line": _HEADER,
    "Unexpected whitespace after header value": _HEADER,
    "Missing expected CR after header value": "Each header line must end in CRLF.",
    "Missing expected LF after header value": "Each header line must end in CRLF.",
}


def describe_malformed_http(fault: BaseException | None) -> str | None:
    """Return a sentence about the fault that the parser has found; `None` if it is an unknown one."""
    if isinstance(fault, HttpParserInvalidMethodError):
        return "The request line must begin with an HTTP method. To use TLS, connect to a proxy that terminates it."
    if isinstance(fault, HttpParserInvalidURLError) or isinstance(
        fault and fault.__context__, HttpParserInvalidURLError
    ):
        return _INVALID_URL
    found = str(fault)
    return next((text for beginning, text in _FAULTS.items() if found.startswith(beginning)), None)
