"""Problem documents (RFC 9457) for every error of the service. Only this module knows the statuses of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
import starlette.routing
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core import errors
from app.core.errors import FieldError, TesseraError
from app.core.web.database_errors import DATABASE_ERRORS, classify_database_error
from app.core.web.declarations import get_challenge
from app.core.web.media_types import is_json
from app.core.web.paging import InvalidCursor
from app.core.web.validation_messages import BODY, MAX_FAULTS, UNREAD_BODY_FAULTS, read_faults

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "2"  # seconds, in a 503

STATUSES_BY_KIND: dict[type[TesseraError], int] = {
    errors.BadInput: 422,
    errors.MalformedBody: 400,
    errors.UnsupportedMediaType: 415,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.VersionConflict: 412,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

# The code and the title of the statuses that the framework responds with by itself.
CODES_BY_STATUS = {
    400: ("bad_request", "The request is malformed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not support the method."),
    408: ("request_timeout", "The request did not arrive in time."),
    413: ("body_too_large", "The request's body is too large."),
}
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
NOTED_FAULTS = "noted_faults"  # in the request's state
CLOSING_STATUSES = frozenset({408, 413})  # the connection ends with them, since the rest of the body is not read


def make_problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    request_id: str,
    *,
    errors: Sequence[FieldError] = (),
    members: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make a response with a problem document.

    Args:
        code: stable, for programs to compare.
        detail: the description of this occurrence.
        members: extension members (RFC 9457, 3.2).
    """
    body: dict[str, Any] = {
        "type": f"urn:tessera:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "requestId": request_id,
    }
    if errors:
        body["errors"] = [{"field": error.field, "message": error.message} for error in errors]
    body |= members or {}
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def get_status(kind: type[TesseraError]) -> int:
    """Return the status of errors of this kind."""
    return next(STATUSES_BY_KIND[base] for base in kind.__mro__ if base in STATUSES_BY_KIND)


def install_error_handlers(app: FastAPI) -> None:
    """Make the application respond to every error with a problem document."""
    app.add_exception_handler(TesseraError, respond_to_error)
    app.add_exception_handler(RequestValidationError, _respond_to_invalid_request)
    app.add_exception_handler(HTTPException, _respond_to_framework_error)
    for database_error in DATABASE_ERRORS:
        app.add_exception_handler(database_error, _respond_to_database_error)


async def respond_to_error(request: Request, error: Exception) -> Response:
    """Make the problem document of an expected failure."""
    assert isinstance(error, TesseraError)
    return make_problem(
        get_status(type(error)),
        error.code,
        error.title,
        error.detail,
        _get_request_id(request),
        errors=error.errors,
        members=error.members,
        headers=_make_headers(request, error),
    )


def _get_request_id(request: Request) -> str:
    return getattr(request.state, "request_id", "")


def _make_headers(request: Request, error: TesseraError) -> dict[str, str]:
    match error:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": get_challenge(request.scope)}
        case errors.TooMany():
            return {"Retry-After": str(error.retry_after)}
        case errors.Unavailable():
            return {"Retry-After": RETRY_AFTER_SECONDS}
        case _:
            return {}


def _has_other_media_type(request: Request, error: RequestValidationError) -> bool:
    """Return whether the body was not read because it is not declared as JSON."""
    is_unread = any(fault["type"] in UNREAD_BODY_FAULTS and tuple(fault["loc"]) == BODY for fault in error.errors())
    return is_unread and not is_json(request.headers.get("content-type", ""))


def note_fault(request: Request, fault: FieldError) -> None:
    """Note a fault that only a service refuses, so that the response lists it beside those found before."""
    noted: list[FieldError] = getattr(request.state, NOTED_FAULTS, [])
    setattr(request.state, NOTED_FAULTS, [*noted, fault])


async def _respond_to_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if {fault["type"] for fault in error.errors()} == {InvalidCursor.code}:
        return await respond_to_error(request, InvalidCursor())
    if _has_other_media_type(request, error):
        return await respond_to_error(
            request, errors.UnsupportedMediaType("Send the body as `Content-Type: application/json`.")
        )
    faults = read_faults(error)
    known = {fault.field for fault in faults}
    noted = [fault for fault in getattr(request.state, NOTED_FAULTS, ()) if fault.field not in known]
    total = len(error.errors()) + len(noted)
    faults = [*faults, *noted][:MAX_FAULTS]
    return await respond_to_error(request, errors.BadInput(errors.summarise(faults, total), errors=faults))


async def _respond_to_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == NOT_FOUND and (address := _find_address_without_slash(request)):
        return Response(status_code=308, headers={"Location": address})
    code, title = CODES_BY_STATUS[error.status_code]  # another status would be a defect, responded to with a 500
    headers = dict(error.headers or {})
    if error.status_code == METHOD_NOT_ALLOWED:  # the framework names the methods of one route only
        headers["Allow"] = ", ".join(sorted(_find_methods(request)))
    if error.status_code in CLOSING_STATUSES:
        headers["Connection"] = "close"
    return make_problem(error.status_code, code, title, title, _get_request_id(request), headers=headers)


def _find_address_without_slash(request: Request) -> str | None:
    """Return the same address without the slashes at its end, if there is something; the query stays."""
    path = request.scope["path"]
    shorter = path.rstrip("/")
    if shorter == path or not any(
        isinstance(route, starlette.routing.Route) and route.path_regex.match(shorter) for route in request.app.routes
    ):
        return None
    query = request.scope["query_string"].decode("latin-1")
    return f"{quote(shorter)}?{query}" if query else quote(shorter)


def _find_methods(request: Request) -> set[str]:
    methods = set[str]()
    for route in request.app.routes:
        if isinstance(route, starlette.routing.Route) and route.path_regex.match(request.scope["path"]):
            methods |= route.methods or set()
    return methods | {"HEAD"} if "GET" in methods else methods


async def _respond_to_database_error(request: Request, error: Exception) -> Response:
    failure = classify_database_error(error)
    if failure is None:
        raise error  # a defect, logged and responded to with a 500
    return await respond_to_error(request, failure)
