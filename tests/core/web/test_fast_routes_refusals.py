"""Fast routes: start-up refuses features that they would skip."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Body, Cookie, Depends, File, Form, Header, Query, Request, Response, Security

from app.core.web.fast_routes import FastRoutes, NotServedFast
from tests.core.web.fast_endpoints import (
    Filter,
    Note,
    caller,
    caller_in_thread,
    handle_error,
    make_app,
    pass_on,
    plain,
    with_caller,
)


async def caller_with_cleanup(request: Request) -> AsyncIterator[str]:
    yield request.method


async def caller_of_header(x_caller: Annotated[str, Header()]) -> str:
    return x_caller


async def caller_of_caller(request: Request, other: Annotated[str, Depends(caller)]) -> str:
    return f"{other} {request.method}"


async def header(x_colour: Annotated[str, Header()]) -> Response:
    raise NotImplementedError


async def cookie(colour: Annotated[str, Cookie()]) -> Response:
    raise NotImplementedError


async def form(colour: Annotated[str, Form()]) -> Response:
    raise NotImplementedError


async def file(colour: Annotated[bytes, File()]) -> Response:
    raise NotImplementedError


async def scalar_query(colour: str) -> Response:
    raise NotImplementedError


async def marked_scalar_query(colour: Annotated[str, Query()]) -> Response:
    raise NotImplementedError


async def two_queries(one: Annotated[Filter, Query()], two: Annotated[Filter, Query()]) -> Response:
    raise NotImplementedError


async def embedded_body(note: Annotated[Note, Body(embed=True)]) -> Response:
    raise NotImplementedError


async def two_bodies(one: Note, two: Note) -> Response:
    raise NotImplementedError


async def optional_body(note: Note | None = None) -> Response:
    raise NotImplementedError


async def background(tasks: BackgroundTasks) -> Response:
    raise NotImplementedError


async def response(response: Response) -> Response:
    raise NotImplementedError


async def implied_dependency(by: Annotated[Note, Depends()]) -> Response:
    raise NotImplementedError


async def dependency_in_thread(by: Annotated[str, Depends(caller_in_thread)]) -> Response:
    raise NotImplementedError


async def dependency_with_cleanup(by: Annotated[str, Depends(caller_with_cleanup)]) -> Response:
    raise NotImplementedError


async def dependency_on_header(by: Annotated[str, Depends(caller_of_header)]) -> Response:
    raise NotImplementedError


async def dependency_on_dependency(by: Annotated[str, Depends(caller_of_caller)]) -> Response:
    raise NotImplementedError


async def dependency_with_scopes(by: Annotated[str, Security(caller, scopes=["notes"])]) -> Response:
    raise NotImplementedError


def in_thread() -> Response:
    raise NotImplementedError


async def model() -> Note:
    raise NotImplementedError


async def unsaid():  # type: ignore[no-untyped-def]  # noqa: ANN201 - the missing type is what is refused
    raise NotImplementedError


@pytest.mark.parametrize(
    "endpoint",
    [
        header,
        cookie,
        form,
        file,
        scalar_query,
        marked_scalar_query,
        two_queries,
        embedded_body,
        two_bodies,
        optional_body,
        background,
        response,
        implied_dependency,
        dependency_in_thread,
        dependency_with_cleanup,
        dependency_on_header,
        dependency_on_dependency,
        dependency_with_scopes,
        in_thread,
        model,
        unsaid,
    ],
)
def test_an_endpoint_with_an_unsupported_feature_is_refused(endpoint: Callable[..., Any]) -> None:
    app = make_app(endpoint)

    with pytest.raises(NotServedFast, match=endpoint.__name__):
        FastRoutes(app)


def test_dependencies_of_the_route_are_refused() -> None:
    with pytest.raises(NotServedFast, match="plain"):
        FastRoutes(make_app(plain, dependencies=[Depends(caller)]))


async def with_number(number: int) -> Response:
    raise NotImplementedError


def test_convertors_in_a_path_are_refused() -> None:
    with pytest.raises(NotServedFast, match="with_number"):
        FastRoutes(make_app(with_number, "/notes/{number:int}"))


def handle_in_thread(request: Request, error: Exception) -> Response:
    raise NotImplementedError


def test_middleware_is_refused() -> None:
    app = make_app(plain)
    app.middleware("http")(pass_on)

    with pytest.raises(NotServedFast, match="Middleware"):
        FastRoutes(app)


def test_overrides_are_refused() -> None:
    app = make_app(with_caller)
    app.dependency_overrides[caller] = caller_in_thread

    with pytest.raises(NotServedFast, match="Overrides"):
        FastRoutes(app)


def test_dependencies_of_the_application_are_refused() -> None:
    app = make_app(plain)
    app.router.dependencies.append(Depends(caller))

    with pytest.raises(NotServedFast, match="Dependencies"):
        FastRoutes(app)


@pytest.mark.parametrize(
    ("kind", "handler"), [(Exception, handle_error), (418, handle_error), (KeyError, handle_in_thread)]
)
def test_error_handlers_that_would_be_skipped_are_refused(kind: int | type[Exception], handler: Any) -> None:
    app = make_app(plain)
    app.add_exception_handler(kind, handler)

    with pytest.raises(NotServedFast, match="error handler"):
        FastRoutes(app)
