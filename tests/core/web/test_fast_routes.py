"""Fast routes: start-up refuses features that they would skip, and features that are added later switch them off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    Query,
    Request,
    Response,
    Security,
)
from pydantic import BaseModel, Field

from app.core.web.fast_routes import FastRoute, FastRoutes, NotServedFast


class Note(BaseModel):
    text: Annotated[str, Field(max_length=5)]


class Filter(BaseModel):
    colour: Annotated[str, Field(max_length=5)] = "red"


async def caller(request: Request) -> str:
    return request.headers.get("x-caller", "anonymous")


def caller_in_thread(request: Request) -> str:
    return request.method


async def caller_with_cleanup(request: Request) -> AsyncIterator[str]:
    yield request.method


async def caller_of_header(x_caller: Annotated[str, Header()]) -> str:
    return x_caller


async def caller_of_caller(request: Request, other: Annotated[str, Depends(caller)]) -> str:
    return f"{other} {request.method}"


async def plain(request: Request) -> Response:
    return Response("fast" if "router" not in request.scope else "ordinary")


async def with_caller(by: Annotated[str, Depends(caller)]) -> Response:
    return Response(by)


async def with_everything(
    number: int, wanted: Annotated[Filter, Query()], body: Note, by: Annotated[str, Depends(caller)], request: Request
) -> Response:
    return Response(f"{number} {wanted.colour} {body.text} {by} {request.method}")


def make_app(endpoint: Callable[..., Any], path: str = "/notes", **options: Any) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    router = APIRouter(route_class=FastRoute, dependency_overrides_provider=app)
    router.post(path, response_model=None, **options)(endpoint)
    app.router.routes.extend(router.routes)
    return app


async def post(app: FastRoutes, path: str = "/notes", body: object = None, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://tessera.test") as client:
        return await client.post(path, json=body, headers=headers)


async def test_arguments_are_read_from_the_sources_in_the_signature() -> None:
    app = FastRoutes(make_app(with_everything, "/notes/{number}"))

    answer = await post(app, "/notes/7?colour=blue", {"text": "Hello"}, **{"X-Caller": "ada"})

    assert (answer.status_code, answer.text) == (200, "7 blue Hello ada POST")


async def test_one_response_has_the_faults_of_all_arguments() -> None:
    app = FastRoutes(make_app(with_everything, "/notes/{number}"))

    answer = await post(app, "/notes/seven?colour=ultramarine", {"text": "Hello, world"})
    nothing = await post(app, "/notes/seven")

    assert [fault["loc"] for fault in answer.json()["detail"]] == [
        ["path", "number"], ["query", "colour"], ["body", "text"],
    ]  # fmt: skip
    assert [fault["loc"] for fault in nothing.json()["detail"]] == [["path", "number"], ["body"]]


# --- what start-up refuses -------------------------------------------------------------------------------------------


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


async def pass_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await call_next(request)
    answer.headers["x-passed"] = "yes"
    return answer


async def handle_error(request: Request, error: Exception) -> Response:
    return Response(f"handled {type(error).__name__} of {request.method}", 418)


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


# --- later additions, error handlers and background tasks -------------------------------------------------------------


async def test_overrides_that_are_added_later_are_used() -> None:
    app = make_app(with_caller)
    fast = FastRoutes(app)
    before = await post(fast)
    app.dependency_overrides[caller] = lambda: "another caller"

    assert (before.text, (await post(fast)).text) == ("anonymous", "another caller")


async def test_middleware_that_is_added_later_is_used() -> None:
    app = make_app(plain)
    fast = FastRoutes(app)
    before = await post(fast)
    app.middleware("http")(pass_on)
    after = await post(fast)

    assert (before.text, before.headers.get("x-passed")) == ("fast", None)
    assert (after.text, after.headers.get("x-passed")) == ("ordinary", "yes")


async def test_an_error_is_handled_by_the_handler_of_its_nearest_class() -> None:
    async def fail() -> Response:
        raise KeyError("a")

    app = make_app(fail)
    app.add_exception_handler(LookupError, handle_error)
    app.add_exception_handler(OSError, handle_error)

    answer = await post(FastRoutes(app))

    assert (answer.status_code, answer.text) == (418, "handled KeyError of POST")


async def test_an_error_without_a_handler_is_raised() -> None:
    async def fail() -> Response:
        raise KeyError("a")

    with pytest.raises(KeyError):
        await post(FastRoutes(make_app(fail)))


async def test_background_tasks_of_a_response_run() -> None:
    done = asyncio.Event()

    async def later() -> Response:
        tasks = BackgroundTasks()
        tasks.add_task(done.set)
        return Response("soon", background=tasks)

    answer = await post(FastRoutes(make_app(later)))

    assert (answer.text, done.is_set()) == ("soon", True)


async def test_other_methods_and_paths_are_left_to_the_application() -> None:
    app = make_app(plain)
    app.post("/others")(plain)
    fast = FastRoutes(app)

    assert ((await post(fast)).text, (await post(fast, "/others")).text) == ("fast", "ordinary")
    assert (await post(fast, "/notes/")).status_code == 404
