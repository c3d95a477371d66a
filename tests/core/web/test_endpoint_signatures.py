"""The sources of an endpoint's arguments are the ones that FastAPI finds."""

from __future__ import annotations

from typing import Annotated

import pytest
from fastapi import (
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    File,
    Form,
    Header,
    Path,
    Query,
    Request,
    Response,
    Security,
    UploadFile,
    WebSocket,
)  # fmt: skip
from fastapi.dependencies.utils import get_dependant
from fastapi.security import SecurityScopes
from pydantic import BaseModel, ValidationError

from app.core.web.endpoint_signatures import Source, read_all_parameters, read_parameters


class Note(BaseModel):
    text: str


async def innermost(token: Annotated[str, Header()], limit: Annotated[int, Query()] = 5) -> str:
    return token * limit


async def inner(request: Request, other: Annotated[str, Depends(innermost)]) -> str:
    return request.method + other


async def endpoint(
    *,
    number: int,
    other_number: Annotated[int, Path(alias="other")],
    colour: str,
    size: Annotated[int | None, Query(alias="s")],
    note: Note,
    note_or_none: Note | None,
    text: Annotated[str, Body()],
    form: Annotated[str, Form()],
    file: Annotated[bytes, File()],
    upload: Annotated[UploadFile, File()],
    header: Annotated[str, Header()],
    cookie: Annotated[str, Cookie()],
    request: Request,
    socket: WebSocket,
    response: Response,
    tasks: BackgroundTasks,
    scopes: SecurityScopes,
    dependency: Annotated[str, Depends(inner)],
    secured: Annotated[str, Security(inner)],
    by_default: str = Depends(inner),
    query_by_default: int = Query(3, alias="q"),
) -> None:
    raise NotImplementedError


SOURCES = {
    "number": Source.PATH,
    "other_number": Source.PATH,
    "colour": Source.QUERY,
    "size": Source.QUERY,
    "note": Source.BODY,
    "note_or_none": Source.BODY,
    "text": Source.BODY,
    "form": Source.BODY,
    "file": Source.BODY,
    "upload": Source.BODY,
    "header": Source.OTHER,
    "cookie": Source.OTHER,
    "request": Source.REQUEST,
    "socket": Source.OTHER,
    "response": Source.OTHER,
    "tasks": Source.OTHER,
    "scopes": Source.OTHER,
    "dependency": Source.DEPENDENCY,
    "secured": Source.DEPENDENCY,
    "by_default": Source.DEPENDENCY,
    "query_by_default": Source.QUERY,
}
PATH = "/notes/{number}/{other}"


def test_sources_are_read_from_the_signature() -> None:
    parameters = read_parameters(endpoint, {"number", "other"})

    assert {one.name: one.source for one in parameters} == SOURCES
    assert [one.name for one in parameters if one.has_default] == ["query_by_default"]


def test_sources_are_those_that_fastapi_finds() -> None:
    found = get_dependant(path=PATH, call=endpoint)

    def names_from(source: Source) -> set[str]:
        return {name for name, one in SOURCES.items() if one is source}

    assert {one.name for one in found.path_params} == names_from(Source.PATH)
    assert {one.name for one in found.query_params} == names_from(Source.QUERY)
    assert {one.name for one in found.body_params} == names_from(Source.BODY)
    assert {one.name for one in found.dependencies} == names_from(Source.DEPENDENCY)
    assert {one.name for one in (*found.header_params, *found.cookie_params)} == {"header", "cookie"}


def test_aliases_are_the_names_in_the_request() -> None:
    aliases = {one.name: one.alias for one in read_parameters(endpoint, {"number", "other"})}

    assert (aliases["other_number"], aliases["size"], aliases["number"], aliases["note"]) == (
        "other", "s", "number", "note",
    )  # fmt: skip


def test_the_parameters_of_nested_dependencies_are_found() -> None:
    async def outer(value: Annotated[str, Depends(inner)]) -> None:
        raise NotImplementedError

    found = {one.name: one.source for one in read_all_parameters(outer)}
    beside = {one.name for one in read_all_parameters(outer, dependencies=[Depends(endpoint)])}

    assert found == {
        "value": Source.DEPENDENCY,
        "request": Source.REQUEST,
        "other": Source.DEPENDENCY,
        "token": Source.OTHER,
        "limit": Source.QUERY,
    }
    assert beside > found.keys()


def test_an_adapter_checks_the_constraints_of_the_marker() -> None:
    async def constrained(number: Annotated[int, Path(ge=3)]) -> None:
        raise NotImplementedError

    (parameter,) = read_parameters(constrained)

    assert parameter.make_adapter().validate_python("3") == 3
    with pytest.raises(ValidationError):
        parameter.make_adapter().validate_python("2")


def test_only_a_dependency_has_a_callable() -> None:
    parameters = {one.name: one for one in read_parameters(endpoint)}

    assert parameters["dependency"].dependency is inner
    with pytest.raises(TypeError, match="colour"):
        _ = parameters["colour"].dependency
