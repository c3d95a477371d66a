"""Fast routes: they call endpoints as the framework does, and features that are added later switch them off."""

from __future__ import annotations

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, Query, Request, Response

from app.core.web.fast_routes import FastRoutes
from tests.core.web.fast_endpoints import Filter, Note, caller, handle_error, make_app, pass_on, plain, with_caller


async def with_everything(
    number: int, wanted: Annotated[Filter, Query()], body: Note, by: Annotated[str, Depends(caller)], request: Request
) -> Response:
    return Response(f"{number} {wanted.colour} {body.text} {by} {request.method}")


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
