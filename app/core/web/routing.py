"""Routes that read requests strictly: JSON bodies, query parameters, and no body unless the operation takes one."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Never, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.core.request_turns import TURN, Turn
from app.core.web.client_address import address_of
from app.core.web.declarations import find_declaration
from app.core.web.endpoint_signatures import Parameter, Source, is_repeatable, read_all_parameters
from app.core.web.json_bodies import Fault, JsonBody, parse_json
from app.core.web.limiter import get_network
from app.core.web.media_types import is_json
from app.core.web.rate_limits import announcing, find_declared_limits

R = TypeVar("R", bound=Request)

QUERY = ("query",)  # the place of a fault of the query as a whole
# The body of a request with one of these methods has no meaning (RFC 9110, 9.3.1).
METHODS_WITHOUT_BODY = frozenset({"GET", "HEAD"})
# Many clients send an empty object if they have nothing to send.
_EMPTY_BODY = re.compile(rb"(\xef\xbb\xbf)?\s*(\{\s*\}|null)?\s*")


class JsonRequest(Request):
    """A request whose body is parsed strictly: see `json_bodies.py`."""

    async def json(self) -> Any:
        """Parse the body, once.

        Raises:
            MalformedBody, BadInput
        """
        return (await self._parse()).value

    async def read_argument(self) -> Any:
        """Return the value of a JSON body; the bytes of another one, which no model accepts, as FastAPI does."""
        return await self.json() if self._is_json else await self.body()

    async def find_text_faults(self) -> Sequence[Fault]:
        """Parse a JSON body, if there is one; return the faults of its texts.

        Raises:
            MalformedBody, BadInput
        """
        return (await self._parse()).faults if self._is_json and await self.body() else ()

    @property
    def _is_json(self) -> bool:
        return is_json(self.headers.get("content-type", ""))

    async def _parse(self) -> JsonBody:
        if not hasattr(self, "_parsed"):
            self._parsed = parse_json(await self.body())
        return self._parsed


class LenientRoute(APIRoute):
    """A route of FastAPI that announces its limits."""

    def get_route_handler(self) -> Any:
        """Make FastAPI's handler."""
        handle, announce = super().get_route_handler(), find_declared_limits(self.endpoint)
        handle = taking_turns(handle) if find_declaration(self.endpoint) is None else handle
        return announcing(announce, handle) if announce else handle


class Route(APIRoute):
    """A route that parses JSON strictly, and refuses undeclared query parameters and an undeclared body.

    One response lists these faults together with the faults that FastAPI finds in the declared arguments.
    """

    @cached_property
    def parameters(self) -> list[Parameter]:
        """The parameters of the endpoint and all its dependencies."""
        return list(read_all_parameters(self.endpoint, self.param_convertors, self.dependencies))

    @cached_property
    def query_parameters(self) -> Mapping[str, bool]:
        """The names of the query parameters, with the fields of models, and whether each may be repeated."""
        found: dict[str, bool] = {}
        for parameter in self.parameters:
            if parameter.source is Source.QUERY and parameter.model:
                fields = parameter.model.model_fields.items()
                found |= {field.alias or name: is_repeatable(field.annotation) for name, field in fields}
            elif parameter.source is Source.QUERY:
                found[parameter.alias] = is_repeatable(parameter.type)
        return found

    def get_route_handler(self) -> Any:
        """Make FastAPI's handler, and give it the stricter request."""
        handler, check_arguments, known = super().get_route_handler(), self._make_check(), self.query_parameters
        if find_declaration(self.endpoint) is None:
            handler = taking_turns(handler)
        takes_body = any(parameter.source is Source.BODY for parameter in self.parameters)
        takes_no_body = not takes_body and "requestBody" not in (self.openapi_extra or {})

        async def handle(request: Request) -> Response:
            faults = find_query_faults(request, known) if request.scope["query_string"] else []
            request = JsonRequest(request.scope, request.receive)
            if takes_body:
                faults += await request.find_text_faults()
            if takes_no_body and request.method not in METHODS_WITHOUT_BODY:
                faults += await _find_body_faults(request)
            if not faults:
                return await handler(request)
            try:
                return await check_arguments(request)
            except RequestValidationError as error:
                raise merge_faults(faults, error) from error

        announce = find_declared_limits(self.endpoint)
        return announcing(announce, handle) if announce else handle

    def _make_check(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Make a handler that reads the arguments like FastAPI's, and raises in place of the endpoint.

        It skips dependencies that open a resource, such as a transaction, but calls all others. So these must not
        change anything: an endpoint counts attempts itself.
        """
        checking = copy(self)
        checking.dependant = replace(_without_resources(self.dependant), call=_raise_no_faults)
        return APIRoute.get_route_handler(checking)


def taking_turns(handle: Callable[[R], Coroutine[Any, Any, Response]]) -> Callable[[R], Coroutine[Any, Any, Response]]:
    """Make the handler of an operation without a caller: it takes the turn that identifying a caller would take."""

    async def handle_in_turn(request: R) -> Response:
        await take_turn_of_network(request)
        return await handle(request)

    return handle_in_turn


async def take_turn_of_network(request: Request) -> None:
    """Take the turn of a request without a known caller: the networks of such requests are served in rotation.

    Raises:
        Overloaded: too many of these requests are waiting.
    """
    turn: Turn | None = request.scope.get(TURN)
    if turn is not None and (waiting := turn.take(turn.all.strangers, get_network(address_of(request)))):
        await waiting


def _without_resources(dependant: Dependant) -> Dependant:
    """Copy the dependencies of an endpoint without those that open a resource and close it after the request."""
    kept = [one for one in dependant.dependencies if not inspect.isasyncgenfunction(one.call)]
    return replace(dependant, dependencies=[_without_resources(one) for one in kept])


async def _raise_no_faults(**_arguments: object) -> Never:
    raise RequestValidationError([])


async def _find_body_faults(request: Request) -> list[Fault]:
    """Return the fault of a body that has any content."""
    if _EMPTY_BODY.fullmatch(await request.body()):
        return []
    return [{"type": "body_not_taken", "loc": ("body",), "msg": "This operation takes no body."}]


def find_query_faults(request: Request, known: Mapping[str, bool]) -> list[Fault]:
    """Find unknown query parameters, repetitions of parameters that may occur only once, and text that is not UTF-8.

    Args:
        known: the names of the route's parameters, and whether each may be repeated.
    """
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:  # what the parameters contain is unknown
        return [{"type": "not_utf_8", "loc": QUERY, "msg": "The query is not valid UTF-8."}]
    names = [name for name, _ in request.query_params.multi_items()]
    distinct = set(names)
    if len(distinct) == len(names) and distinct <= known.keys():
        return []
    faults: list[Fault] = []
    counts = Counter(names)
    for name, count in sorted(counts.items()):
        if name not in known:
            fault = "unknown_parameter", "There is no such parameter."
        elif count > 1 and not known[name]:
            fault = "repeated_parameter", "Send it only once."
        else:
            continue
        faults.append({"type": fault[0], "loc": ("query", name), "msg": fault[1]})
    return faults


def merge_faults(faults: Sequence[Fault], error: RequestValidationError) -> RequestValidationError:
    """Make one error of the faults that this module found and those of FastAPI or pydantic.

    Pydantic may report the same parameters in general words. Its faults of these parameters are dropped. A fault of the
    query as a whole stands for all its parameters.
    """
    places = {fault["loc"] for fault in faults}
    others = [one for one in error.errors() if tuple(one["loc"]) not in places]
    if QUERY in places:
        others = [one for one in others if one["loc"][0] != QUERY[0]]
    return RequestValidationError([*faults, *others])
