"""Errors as problem documents (RFC 9457), and what every operation shares. The only place that knows statuses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_origin
from urllib.parse import unquote_to_bytes

import asyncpg
import orjson
import starlette.routing
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core import errors
from app.core.db import NotMigrated
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


def install_error_handlers(app: FastAPI) -> None:
    """Let every error that the service can answer be a problem document."""
    app.add_exception_handler(TesseraError, answer_to)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _framework)
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


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, title = CODE_OF.get(error.status_code, ("error", "The request cannot be answered."))
    headers = dict(error.headers or {})
    if error.status_code == METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))  # the framework names one route's only
    if error.status_code in {408, 413}:
        headers["Connection"] = "close"
    return problem(error.status_code, code, title, title, _request_id(request), headers=headers)


def _methods_of(request: Request) -> set[str]:
    """All methods that the request's path has."""
    path = request.scope["path"]
    found = {"OPTIONS"} if request.app.state.settings.cors_origins else set()
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


# Of a request with one of these, a body means nothing (RFC 9110, 9.3.1).
_WITHOUT_BODY = frozenset({"GET", "HEAD"})


class JsonRequest(Request):
    """A request whose body is read strictly: no NaN, no lone surrogates, bounded nesting."""

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            json.JSONDecodeError: answered as a 422.
        """
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class Route(APIRoute):
    """A route that reads JSON strictly, and refuses query parameters and a body that it does not have."""

    def get_route_handler(self) -> Any:
        """FastAPI's handler, given the stricter request."""
        handler = super().get_route_handler()
        known = query_parameters(self)
        takes_no_body = not self.dependant.body_params and "requestBody" not in (self.openapi_extra or {})

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                refuse_unknown(request, known)
            request = JsonRequest(request.scope, request.receive)
            if takes_no_body and request.method not in _WITHOUT_BODY:
                await _refuse_body(request)
            return await handler(request)

        return handle


async def _refuse_body(request: Request) -> None:
    """Raise `BadInput` where there is anything in the body; many clients send an empty object where there is none."""
    if (await request.body()).strip() not in {b"", b"{}", b"null"}:
        fault = FieldError("", "This operation takes no body.")
        raise errors.BadInput(fault.message, errors=[fault])


def query_parameters(route: APIRoute) -> Mapping[str, bool]:
    """The query parameters of a route, those of its dependencies and models included; whether each may be repeated."""
    found: dict[str, bool] = {}
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting.extend(dependant.dependencies)
        for parameter in dependant.query_params:
            model = getattr(parameter.field_info, "annotation", None)
            inner = getattr(model, "model_fields", None)
            if inner is None:
                found[parameter.alias] = get_origin(model) is list
            else:
                found |= {field.alias or name: get_origin(field.annotation) is list for name, field in inner.items()}
    return found


def refuse_unknown(request: Request, known: Mapping[str, bool]) -> None:
    """Raise `BadInput` for query parameters that a route does not have or has only once, and for what is no text.

    Args:
        known: the route's parameters, and whether each may be repeated.
    """
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        fault = FieldError("", "The query is not valid UTF-8.")
        raise errors.BadInput(fault.message, errors=[fault]) from None
    names = [name for name, _ in request.query_params.multi_items()]
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise errors.BadInput(
            f"There is no query parameter {unknown[0][:100]!r} here.",
            errors=[FieldError(name[:100], "There is no such parameter.") for name in unknown[:50]],
        )
    repeated = sorted({name for name in names if not known[name] and names.count(name) > 1})
    if repeated:
        raise errors.BadInput(
            f"{repeated[0]} may be given once.", errors=[FieldError(name, "It may be given once.") for name in repeated]
        )


_ENTITY_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


def check_if_match(if_match: str | None, version: int) -> None:
    """Compare `If-Match` (RFC 9110, 13.1.1) with a row's version.

    Raises:
        BadInput: it is not a list of entity tags.
        VersionConflict: none of them is the present version.
    """
    if if_match is None or if_match.strip() == "*":
        return
    tags, end = [], 0
    while match := _ENTITY_TAG.match(if_match, end):
        tags.append(match)
        end = match.end()
        if end == len(if_match):
            break
    if not tags or end != len(if_match):
        fault = FieldError("If-Match", 'It must be an entity tag such as "3".')
        raise errors.BadInput(f"If-Match: {fault.message}", errors=[fault])
    if not any(not tag[1] and tag[2] == str(version) for tag in tags):
        raise errors.VersionConflict


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'
