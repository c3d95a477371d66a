"""Hot operations: FastAPI documents them, and a short cut serves them.

FastAPI's general ways, with a dozen layers around an endpoint and any kind of argument, took more than half the time of
a small request. Here the layers are two, and arguments are of five kinds only: the request, path parameters, one query
model, one body model, and dependencies on the request alone.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from app.core.web.routing import JsonRequest, Route, query_parameters, refuse_unknown

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

NO_BODY = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}


class ShortCut:
    """The application, with its hot routes served first and at once.

    Args:
        app: what serves everything else; its error handlers serve here too.
        routes: tried in turn.
    """

    def __init__(self, app: FastAPI, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self._routes = [
            (route, route.methods or set(), route.get_route_handler())
            for route in routes
            if isinstance(route, HotRoute)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a hot operation, or leave it to the application."""
        if scope["type"] == "http":
            path, method = scope["path"], scope["method"]
            for route, methods, handler in self._routes:
                if method in methods and (found := route.path_regex.match(path)):
                    scope.update(app=self.app, route=route, path_params=found.groupdict())
                    response = await self._response(handler, Request(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    async def _response(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            for kind in type(error).__mro__:
                if answer := self.app.exception_handlers.get(kind):
                    return await answer(request, error)  # type: ignore[misc, no-any-return]
            raise


class HotRoute(Route):
    """Answers as `Route` does, given an endpoint that returns a `Response`."""

    def get_route_handler(self) -> Handler:
        """The handler, which reads the arguments in FastAPI's order: the body's JSON, the caller, the fields."""
        dependant, known = self.dependant, query_parameters(self)
        endpoint, takes_body = self.endpoint, bool(dependant.body_params)
        dependencies, fields = _dependencies_of(dependant), _fields_of(dependant)

        async def handle(request: Request) -> Response:
            if request.scope["query_string"]:
                refuse_unknown(request, known)
            request = JsonRequest(request.scope, request.receive)
            content = await _content(request) if takes_body else None
            arguments = {name: await depend(request) for name, depend in dependencies.items()}
            faults: list[Any] = [NO_BODY] if content == b"" else []
            for field in fields if not faults else ():
                value = content if field.source is None else field.source(request)
                arguments[field.name], wrong = field.type.validate(value, {}, loc=field.place)
                faults.extend(wrong)
            if faults:
                raise RequestValidationError(faults)
            if dependant.request_param_name:
                arguments[dependant.request_param_name] = request
            return await endpoint(**arguments)  # type: ignore[no-any-return]

        return handle


@dataclass(frozen=True)
class _Field:
    """An argument of the endpoint, and where the request has it; without a source it is the body."""

    type: Any  # FastAPI's, which has no public name
    place: tuple[str, ...]
    source: Callable[[Request], object] | None = None

    @property
    def name(self) -> str:
        return str(self.type.name)


def _dependencies_of(dependant: Dependant) -> Mapping[str, Callable[[Request], Awaitable[object]]]:
    found = {}
    for dependency in dependant.dependencies:
        assert dependency.request_param_name, "a hot operation's dependencies take the request alone"
        assert not dependency.dependencies
        assert dependency.name
        assert dependency.call
        found[dependency.name] = dependency.call
    return found


def _fields_of(dependant: Dependant) -> list[_Field]:
    assert not dependant.header_params
    assert not dependant.cookie_params
    return [
        *(_Field(field, ("path", field.alias), _path(field.alias)) for field in dependant.path_params),
        *(_Field(field, ("query",), _query(field.field_info.annotation)) for field in dependant.query_params),
        *(_Field(field, ("body",)) for field in dependant.body_params),
    ]


def _path(alias: str) -> Callable[[Request], object]:
    return lambda request: request.path_params[alias]


def _query(model: Any) -> Callable[[Request], object]:
    assert issubclass(model, BaseModel), "a hot operation's query parameters are one model"
    repeated = {field.alias for field in model.model_fields.values() if get_origin(field.annotation) is list}

    def read(request: Request) -> object:
        query = request.query_params
        return {key: query.getlist(key) if key in repeated else value for key, value in query.items()}

    return read


async def _content(request: Request) -> object:
    """The body's JSON; or what it is instead, which no model takes.

    Raises:
        RequestValidationError: it is broken.
    """
    content = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content or not (kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))):
        return content
    try:
        return await request.json()
    except json.JSONDecodeError as error:
        fault = {"type": "json_invalid", "loc": ("body", error.pos), "msg": error.msg, "input": None}
        raise RequestValidationError([fault]) from error
