"""Fast routes: FastAPI documents them, and `FastRoutes` serves them without FastAPI's layers.

FastAPI puts a dozen layers around an endpoint and supports any kind of argument. That takes more than half of the CPU
time of a small request. Fast routes have two layers and five kinds of arguments: the request, path parameters, one
query model, one JSON body, and dependencies on the request alone. A route that uses anything else is refused at
start-up, so that nothing is skipped silently. A test sends the same requests both ways and compares the responses.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from fastapi import FastAPI, Request, params
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.convertors import StringConvertor
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.core.web.declarations import find_declaration
from app.core.web.endpoint_signatures import Endpoint, Parameter, Source, is_repeatable, read_parameters
from app.core.web.json_bodies import Fault
from app.core.web.rate_limits import find_declared_limits
from app.core.web.routing import JsonRequest, Route, find_query_faults, merge_faults, taking_turns

Handler = Callable[[JsonRequest], Coroutine[Any, Any, Response]]
ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]
Dependency = Callable[[Request], Awaitable[object]]

MISSING_BODY = {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None}


class NotServedFast(TypeError):
    """A route or an application uses a feature that fast routes would skip. Raised at start-up."""


class FastRoutes:
    """Serve the fast routes of an application directly, and pass all other requests on to it.

    Args:
        app: the application with all routes. Its error handlers serve fast routes and others.

    Raises:
        NotServedFast: the application or one of the routes uses a feature that would be skipped.
    """

    def __init__(self, app: FastAPI) -> None:
        _check_application(app)
        self.app = app
        self._routes = [
            (route, route.methods or set(), route.path_regex.match, route.make_fast_handler())
            for route in app.routes
            if isinstance(route, FastRoute)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a fast route, or pass the request on to the application.

        If overrides or middleware were added after start-up, the application serves all requests.
        """
        app = self.app
        if scope["type"] == "http" and not (app.dependency_overrides or app.user_middleware):
            path, method = scope["path"], scope["method"]
            for route, methods, match, handle in self._routes:
                if method in methods and (found := match(path)):
                    scope.update(app=app, route=route, endpoint=route.endpoint, path_params=found.groupdict())
                    response = await self._respond(handle, JsonRequest(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await app(scope, receive, send)

    async def _respond(self, handle: Handler, request: JsonRequest) -> Response:
        try:
            return await handle(request)
        except Exception as error:
            for kind in type(error).__mro__:
                if kind in self.app.exception_handlers:
                    return await cast("ErrorHandler", self.app.exception_handlers[kind])(request, error)
            raise


class FastRoute(Route):
    """A route that `FastRoutes` can serve: its endpoint is a coroutine function that returns a `Response`."""

    def make_fast_handler(self) -> Handler:
        """Make the handler, which reads arguments in FastAPI's order: the body's JSON, dependencies, all other fields.

        Raises:
            NotServedFast: the route uses a feature that the handler does not have.
        """
        _check_route(self)
        arguments = _Arguments.of(self)
        endpoint, parameters = self.endpoint, self.query_parameters

        async def handle(request: JsonRequest) -> Response:
            query_faults = find_query_faults(request, parameters) if request.scope["query_string"] else []
            values, faults = await arguments.read(request)
            if query_faults or faults:
                raise merge_faults(query_faults, RequestValidationError(faults))
            return cast("Response", await endpoint(**values))

        return handle if find_declaration(endpoint) is not None else taking_turns(handle)


@dataclass(frozen=True)
class _BodyField:
    """The argument that is made from the body.

    Attributes:
        location: the place of the argument in the request, as faults name it.
        parse: returns the argument, or raises `ValidationError`.
    """

    name: str
    location: tuple[str, ...]
    parse: Callable[[object], object]

    def validate(self, value: object, values: dict[str, object], faults: list[Fault]) -> None:
        """Add the argument to `values`, or its faults to `faults`."""
        try:
            values[self.name] = self.parse(value)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            faults += [{**fault, "loc": (*self.location, *fault["loc"])} for fault in found]


@dataclass(frozen=True)
class _Field(_BodyField):
    """An argument that is made from the path or the query. `read` reads its value from the request."""

    read: Callable[[Request], object]


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a fast route's endpoint, by kind."""

    request_name: str | None
    dependencies: list[tuple[str, Dependency]]
    fields: list[_Field]  # path, then query: FastAPI lists faults in this order, with those of the body last
    body: _BodyField | None

    @classmethod
    def of(cls, route: FastRoute) -> _Arguments:
        """Group the parameters of the endpoint's signature by source.

        Raises:
            NotServedFast: a parameter has a default or another source, or there are two requests, query models or
                bodies.
        """
        by_source: dict[Source, list[Parameter]] = {source: [] for source in Source}
        for parameter in read_parameters(route.endpoint, route.param_convertors):
            by_source[parameter.source].append(parameter)
            if parameter.source is Source.OTHER or parameter.has_default:
                raise NotServedFast(
                    f"{route.name}: {parameter.name} has a default, or a source that fast routes do not support."
                )
        if any(len(by_source[source]) > 1 for source in (Source.REQUEST, Source.QUERY, Source.BODY)):
            raise NotServedFast(f"{route.name}: there can be one request, one query model and one body.")
        requests, bodies = by_source[Source.REQUEST], by_source[Source.BODY]
        return cls(
            request_name=requests[0].name if requests else None,
            dependencies=[(one.name, _make_dependency(route, one)) for one in by_source[Source.DEPENDENCY]],
            fields=[
                *(_make_path_field(one) for one in by_source[Source.PATH]),
                *(_make_query_field(route, one) for one in by_source[Source.QUERY]),
            ],
            body=_make_body_field(route, bodies[0]) if bodies else None,
        )

    async def read(self, request: JsonRequest) -> tuple[dict[str, object], list[Fault]]:
        """Read the arguments from a request; return them by name, and the faults of those that are not valid."""
        faults: list[Fault] = []
        has_body = self.body is not None and await request.body() != b""
        # As in `Route`, malformed JSON is reported before the caller is identified.
        text_faults = await request.find_text_faults() if has_body else ()
        values = {name: await depend(request) for name, depend in self.dependencies}
        for field in self.fields:
            field.validate(field.read(request), values, faults)
        if self.body and has_body:
            self.body.validate(await request.read_argument(), values, faults)
        elif self.body:
            faults.append(MISSING_BODY)
        if self.request_name:
            values[self.request_name] = request
        if text_faults:
            faults = list(merge_faults(text_faults, RequestValidationError(faults)).errors())
        return values, faults


def _make_path_field(parameter: Parameter) -> _Field:
    name = parameter.alias
    parse = parameter.make_adapter().validate_python
    return _Field(parameter.name, ("path", name), parse, read=lambda request: request.path_params[name])


def _make_query_field(route: FastRoute, parameter: Parameter) -> _Field:
    if parameter.model is None:
        raise NotServedFast(
            f"{route.name}: query parameters must be fields of one model, and {parameter.name} is not a model."
        )
    lists = {
        field.alias or name for name, field in parameter.model.model_fields.items() if is_repeatable(field.annotation)
    }

    def read(request: Request) -> object:
        query = request.query_params
        return {key: query.getlist(key) if key in lists else value for key, value in query.items()}

    return _Field(parameter.name, ("query",), parameter.model.model_validate, read=read)


def _make_body_field(route: FastRoute, parameter: Parameter) -> _BodyField:
    if parameter.model is None or parameter.marker is not None:
        raise NotServedFast(
            f"{route.name}: the body must be one JSON model without a marker, and {parameter.name} is not."
        )
    return _BodyField(parameter.name, ("body",), parameter.model.model_validate)


def _make_dependency(route: FastRoute, parameter: Parameter) -> Dependency:
    dependency = parameter.dependency
    takes = [one.source for one in read_parameters(dependency)]
    if takes != [Source.REQUEST] or not _is_coroutine(dependency) or isinstance(parameter.marker, params.Security):
        raise NotServedFast(f"{route.name}: the dependency {parameter.name} must be a coroutine of the request alone.")
    return cast("Dependency", dependency)


def _is_coroutine(call: Endpoint) -> bool:
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _check_route(route: FastRoute) -> None:
    returned = inspect.signature(route.endpoint, eval_str=True).return_annotation
    if not _is_coroutine(route.endpoint):
        raise NotServedFast(f"{route.name}: the endpoint must be a coroutine function.")
    if not (inspect.isclass(returned) and issubclass(returned, Response)):
        raise NotServedFast(f"{route.name}: the endpoint must return a Response.")
    if find_declared_limits(route.endpoint):
        raise NotServedFast(f"{route.name}: limited operations must be of FastAPI's routes.")
    if route.dependencies:
        raise NotServedFast(f"{route.name}: dependencies must be parameters of the endpoint.")
    if not all(isinstance(one, StringConvertor) for one in route.param_convertors.values()):
        raise NotServedFast(f"{route.name}: path parameters must have no convertor; their types validate them.")


def _check_application(app: FastAPI) -> None:
    if app.user_middleware:
        raise NotServedFast("Middleware of the application would be skipped: wrap the fast routes in it.")
    if app.dependency_overrides:
        raise NotServedFast("Overrides of dependencies would be skipped.")
    if app.router.dependencies:
        raise NotServedFast("Dependencies of the application would be skipped: declare them on the endpoints.")
    for kind, handler in app.exception_handlers.items():
        if not isinstance(kind, type) or kind is Exception or not inspect.iscoroutinefunction(handler):
            raise NotServedFast(f"The error handler of {kind} would be skipped: use a coroutine function for a class.")
