"""Messages about invalid values are in plain words, for every field of every request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from app.core.config import Settings
from app.core.web.endpoint_signatures import Source
from app.core.web.routing import Route
from app.core.web.validation_messages import read_faults
from app.main import create_api
from tests.organisation_client import Desk

VALUES: list[Any] = [
    None, "", " ", "x", "x" * 30_000, "a\0b", "\ud800", "1", 5, -1, 10**30, 1.5, True, [], ["x"], [5], [None] * 300, {},
    {"x": 1}, [{}], [{"x": 1}],
]  # fmt: skip
# Words of pydantic and of regular expressions.
VALIDATOR_LANGUAGE = re.compile(r"[Ii]nput|should|pattern|parse|instance|[Dd]ictionary|valid (string|integer)|\{|\\")


def request_models() -> Iterator[type[BaseModel]]:
    app = create_api(Settings.model_validate({"secret_key": None, "database_url": None}))
    for route in app.routes:
        for parameter in route.parameters if isinstance(route, APIRoute) and isinstance(route, Route) else ():
            if parameter.model and parameter.source in {Source.BODY, Source.QUERY}:
                yield parameter.model


MODELS = sorted(set(request_models()), key=lambda model: model.__name__)


def faults_of(model: type[BaseModel], values: object) -> Iterator[tuple[str, str]]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        found = [{**fault, "loc": ("body", *fault["loc"])} for fault in error.errors(include_url=False)]
        for fault in read_faults(RequestValidationError(found)):
            yield fault.field, fault.message


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_message_has_words_of_the_validator(model: type[BaseModel]) -> None:
    names = [field.alias or to_camel(name) for name, field in model.model_fields.items()]
    found = {fault for value in VALUES for fault in faults_of(model, dict.fromkeys(names, value))}
    found |= {fault for value in VALUES for fault in faults_of(model, value)}

    assert {name for name, _ in found} >= set(names), "every field refuses something"
    for name, message in found:
        assert not VALIDATOR_LANGUAGE.search(re.sub(r"\{(id|reference)\}", "", message)), (name, message)
        assert message != "This is not valid.", name
        assert message.endswith("."), (name, message)


def test_all_models_of_requests_are_tried() -> None:
    assert len(MODELS) > 30


@pytest.mark.parametrize(
    ("path", "field", "value", "message"),
    [
        ("/me", "locale", "German",
         "This must be a language, optionally with a script and a region, such as en or de-AT."),
        ("/me", "available", "yes", "This must be true or false."),
        ("/me", "firstName", 5, "This must be a text."),
        ("/me", "firstName", "x" * 101, "This may have at most 100 characters."),
        ("/org", "autoCloseDays", 1.5, "This must be a whole number."),
    ],
)  # fmt: skip
async def test_a_message_says_what_the_field_takes(
    desk: Desk, path: str, field: str, value: object, message: str
) -> None:
    answer = await desk.admin.http.patch(path, json={field: value}, headers=desk.admin.headers)

    assert answer.json()["errors"] == [{"field": field, "message": message}]
    assert answer.json()["detail"] == f"{field}: {message}"


async def test_a_code_of_a_wrong_form_is_refused_without_its_pattern(desk: Desk) -> None:
    answer = await desk.admin.post("/auth/2fa/confirm", {"code": "12345"})

    message = "This must be the six digits that the authenticator shows, such as 492039."
    assert answer.json()["errors"] == [{"field": "code", "message": message}]
