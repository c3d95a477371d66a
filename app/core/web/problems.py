"""Errors as problem documents (RFC 9457), and what every operation shares. The only place that knows statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg
import orjson
import starlette.routing
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core import errors
from app.core.database.pool import NotMigrated
from app.core.errors import FieldError, TesseraError

PROBLEM_MEDIA_TYPE = "application/problem+json"
METHOD_NOT_ALLOWED = 405
RETRY_AFTER = "2"  # seconds; what a 503 asks for

STATUS_OF: dict[type[TesseraError], int] = {
    errors.BadInput: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.VersionConflict: 412,
    errors.TooMany: 429,
    errors.Unavailable: 503,
}

# Statuses that the framework answers by itself.
CODE_OF = {
    400: ("bad_request", "The request is malformed."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not have that method."),
    408: ("request_timeout", "The request's body did not arrive in time."),
    413: ("body_too_large", "The request's body is too large."),
    415: ("unsupported_media_type", "The body must be JSON, with Content-Type: application/json."),
}

CHALLENGE = 'Bearer realm="tessera", OrgSecret realm="tessera"'

# Classes of SQLSTATE (appendix A of PostgreSQL's manual) that mean: not now, but perhaps in a moment.
_TRANSIENT = ("08", "53", "57", "40", "55P03", "25P03")
_NO_SUCH_TABLE = "42P01"
# And those that mean: this text or number cannot be stored.
_BAD_VALUE = ("22",)

log = structlog.get_logger("tessera.http")


def problem(
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
    """A problem document. `code` is stable; `detail` is about this one request; `members` are extensions (3.2)."""
    body: dict[str, Any] = {
        "type": f"urn:tessera:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "requestId": request_id,
    }
    if errors:
        body["errors"] = [{"field": e.field, "message": e.message} for e in errors]
    body |= members or {}
    return Response(orjson.dumps(body), status_code=status, headers=headers, media_type=PROBLEM_MEDIA_TYPE)


def install_error_handlers(app: FastAPI, *, has_cors: bool = False) -> None:
    """Let every error that the service can answer be a problem document.

    Args:
        has_cors: whether every path also answers the OPTIONS requests of browsers.
    """
    app.add_exception_handler(TesseraError, answer_to)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, partial(_framework, has_cors=has_cors))
    for transient in (
        exc.DBAPIError,
        exc.TimeoutError,
        exc.DisconnectionError,
        exc.PendingRollbackError,  # a connection that was lost takes its transaction with it
        AsyncAdapt_asyncpg_dbapi.Error,  # what the pool raises where no Connection of SQLAlchemy's is around it
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,  # no connection: refused, timed out, no such host, no such socket
    ):
        app.add_exception_handler(transient, _database)


def _request_id(request: Request) -> str:
    return getattr(request.state, "request_id", "")


async def answer_to(request: Request, error: Exception) -> Response:
    """The problem document of an expected failure."""
    assert isinstance(error, TesseraError)
    status = next(STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return problem(
        status,
        error.code,
        error.title,
        error.detail,
        _request_id(request),
        errors=error.errors,
        members=error.members,
        headers=_headers_of(error),
    )


def _headers_of(error: TesseraError) -> dict[str, str]:
    match error:
        case errors.Unauthenticated():
            return {"WWW-Authenticate": CHALLENGE}
        case errors.TooMany():
            # draft-ietf-httpapi-ratelimit-headers: what is left, and when it is whole again.
            return {
                "Retry-After": str(error.retry_after),
                "RateLimit-Policy": f'"default";q={error.limit};w={error.window}',
                "RateLimit": f'"default";r=0;t={error.retry_after}',
            }
        case errors.Unavailable():
            return {"Retry-After": RETRY_AFTER}
        case _:
            return {}


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [FieldError(_field(e), _message(e)) for e in error.errors()]
    detail = "; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in found[:3])
    return problem(422, errors.BadInput.code, errors.BadInput.title, detail, _request_id(request), errors=found[:50])


def _field(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return ""  # inside a broken text there are only offsets
    _where, *path = error["loc"]  # body, query, path or header
    return ".".join(str(part)[:100] for part in path)


def _message(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "json_invalid":
            return "The body is not valid JSON."
        case "extra_forbidden":
            return "There is no such field."
        case "missing":
            return "This is required."
        case "model_attributes_type" | "dict_type" | "model_type":
            return "A JSON object is needed, with Content-Type: application/json."
        case _:
            return str(error["msg"]).removeprefix("Value error, ")[:500]


async def _framework(request: Request, error: Exception, *, has_cors: bool) -> Response:
    assert isinstance(error, HTTPException)
    code, title = CODE_OF.get(error.status_code, ("error", "The request cannot be answered."))
    headers = dict(error.headers or {})
    if error.status_code == METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(
            sorted(_methods_of(request, has_cors=has_cors))
        )  # the framework names one route's only
    if error.status_code in {408, 413}:
        headers["Connection"] = "close"
    return problem(error.status_code, code, title, title, _request_id(request), headers=headers)


def _methods_of(request: Request, *, has_cors: bool) -> set[str]:
    """All methods that the request's path has."""
    path = request.scope["path"]
    found = {"OPTIONS"} if has_cors else set()
    for route in request.app.routes:
        if isinstance(route, starlette.routing.Route) and route.path_regex.match(path):
            found |= route.methods or set()
    return found | {"HEAD"} if "GET" in found else found


async def _database(request: Request, error: Exception) -> Response:
    """A failure of the database: bad input, a passing trouble, or (raised again) a defect of ours."""
    sqlstate = _sqlstate(error)
    if sqlstate == _NO_SUCH_TABLE:
        log.error("database_not_migrated", error=f"{error}"[:300])
        return await answer_to(request, NotMigrated())
    if sqlstate.startswith(_BAD_VALUE):
        kind: type[TesseraError] = errors.BadInput
    elif not sqlstate or sqlstate.startswith(_TRANSIENT):
        kind = errors.Unavailable
        log.warning("database_unavailable", sqlstate=sqlstate, error=f"{type(error).__name__}: {error}"[:300])
    else:
        raise error
    return await answer_to(request, kind())


def _sqlstate(error: Exception) -> str:
    """The SQLSTATE of a database error; empty where the server was not reached at all."""
    original = error.orig if isinstance(error, exc.DBAPIError) else error
    found = getattr(original, "sqlstate", None)
    if isinstance(getattr(original, "__cause__", None), asyncpg.InternalClientError):
        return ""  # the driver was in the middle of something when its connection was lost
    if found is None and isinstance(error, exc.DBAPIError) and not error.connection_invalidated:
        # No state and a sound connection: the driver refused a value.
        return "22000" if isinstance(error, exc.DataError) or isinstance(original, ValueError) else "XX000"
    if found is None and isinstance(original, asyncpg.InterfaceError) and isinstance(original, ValueError):
        return "22000"  # the driver's own refusal of a value
    return str(found or "")
