"""Endpoints, dependencies, middleware and applications for the tests of fast routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from pydantic import BaseModel, Field

from app.core.web.fast_routes import FastRoute


class Note(BaseModel):
    text: Annotated[str, Field(max_length=5)]


class Filter(BaseModel):
    colour: Annotated[str, Field(max_length=5)] = "red"


async def caller(request: Request) -> str:
    return request.headers.get("x-caller", "anonymous")


def caller_in_thread(request: Request) -> str:
    return request.method


async def plain(request: Request) -> Response:
    return Response("fast" if "router" not in request.scope else "ordinary")


async def with_caller(by: Annotated[str, Depends(caller)]) -> Response:
    return Response(by)


def make_app(endpoint: Callable[..., Any], path: str = "/notes", **options: Any) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    router = APIRouter(route_class=FastRoute, dependency_overrides_provider=app)
    router.post(path, response_model=None, **options)(endpoint)
    app.router.routes.extend(router.routes)
    return app


async def pass_on(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await call_next(request)
    answer.headers["x-passed"] = "yes"
    return answer


async def handle_error(request: Request, error: Exception) -> Response:
    return Response(f"handled {type(error).__name__} of {request.method}", 418)
