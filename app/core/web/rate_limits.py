"""Announce limits on attempts in the headers `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

A route whose endpoint declares its limits sends both headers with every response. They describe the limits that the
request was counted in. If it was counted in none, because it was refused before, they describe the declared limits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from app.core.errors import TesseraError, Unavailable
from app.core.web.endpoint_signatures import Endpoint
from app.core.web.limit_states import collecting_attempts, collecting_limits, make_limit_headers

RESPONSE_HEADERS = "response_headers"  # in the request's state: headers to add to its response
_DECLARATION = "__announce_limits__"


# Calls `announce_limit` for each limit of an operation, without counting the request.
AnnounceLimits = Callable[[Request], Awaitable[None]]
E = TypeVar("E", bound=Endpoint)
R = TypeVar("R", bound=Request)


def declare_limits(announce: AnnounceLimits) -> Callable[[E], E]:
    """Declare the limits of an endpoint."""

    def declare(endpoint: E) -> E:
        setattr(endpoint, _DECLARATION, announce)
        return endpoint

    return declare


def find_declared_limits(endpoint: Endpoint) -> AnnounceLimits | None:
    """Return the declaration of the limits of an endpoint; `None` if it is not limited."""
    return getattr(endpoint, _DECLARATION, None)


def make_announcer(app: FastAPI) -> Callable[[Scope], Awaitable[None]]:
    """Make the function that announces the limits of the operation of a request that never reaches its route."""
    limited = [
        (route.path_regex.match, route.methods, announce)
        for route in app.routes
        if isinstance(route, Route) and route.methods and (announce := find_declared_limits(route.endpoint))
    ]

    async def announce_for(scope: Scope) -> None:
        for match, methods, announce in limited:
            if scope["method"] in methods and match(scope["path"]):
                await _note_limits(Request({**scope, "app": app}), announce)

    return announce_for


async def _note_limits(request: Request, announce: AnnounceLimits) -> None:
    """Note the headers of the declared limits for the response."""
    with collecting_limits() as states:
        with suppress(TesseraError):  # the counts cannot be read
            await announce(request)
        setattr(request.state, RESPONSE_HEADERS, make_limit_headers(states.values()))


def _is_failure_of_service(error: Exception) -> bool:
    if isinstance(error, TesseraError):
        return isinstance(error, Unavailable)
    return not isinstance(error, HTTPException | RequestValidationError | ClientDisconnect)


def announcing(
    announce: AnnounceLimits, handle: Callable[[R], Awaitable[Response]]
) -> Callable[[R], Awaitable[Response]]:
    """Make the handler of a limited operation: its response gets the headers, also if it is an error.

    A request that the service could not handle (503, 500) was no attempt: it counts in no limit.
    """

    async def handle_limited(request: R) -> Response:
        with collecting_limits() as states, collecting_attempts() as refunds:
            try:
                return await handle(request)
            except Exception as error:
                if _is_failure_of_service(error):
                    for refund in list(refunds.values()):
                        with suppress(TesseraError):  # the counts cannot be written
                            await refund()
                raise
            finally:
                if states:
                    setattr(request.state, RESPONSE_HEADERS, make_limit_headers(states.values()))
                else:
                    await _note_limits(request, announce)

    return handle_limited
