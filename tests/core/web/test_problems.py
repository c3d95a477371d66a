"""Problem documents: the paths of fields, and a status for every kind of error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from app.core import errors
from app.core.web.problems import STATUSES_BY_KIND, install_error_handlers
from app.core.web.routing import Route


class TestFieldNames:
    """A field is named by its path in the JSON of the request."""

    class Line(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

        unit_price: int

    class Order(BaseModel):
        model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

        order_lines: list[TestFieldNames.Line]

    @pytest.fixture
    def http(self) -> httpx.AsyncClient:
        app, router = FastAPI(), APIRouter(route_class=Route)

        @router.post("/orders")
        async def order(body: TestFieldNames.Order) -> int:
            return len(body.order_lines)

        app.include_router(router)
        install_error_handlers(app)
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://tessera.test")

    @pytest.mark.parametrize(
        ("body", "wrong"),
        [
            ({"orderLines": [{"unitPrice": 1}, {"unitPrice": "x"}]}, ["orderLines.1.unitPrice"]),
            ({"orderLines": [{}, {"unit_price": 1}]},
             ["orderLines.0.unitPrice", "orderLines.1.unitPrice", "orderLines.1.unit_price"]),
            ({"orderLines": 5, "order": 6}, ["orderLines", "order"]),
            ({}, ["orderLines"]),
            ([], [""]),
        ],
    )  # fmt: skip
    async def test_a_path_is_complete_and_in_camel_case(
        self, http: httpx.AsyncClient, body: Any, wrong: Sequence[str]
    ) -> None:
        answer = await http.post("/orders", json=body)
        assert [error["field"] for error in answer.json()["errors"]] == wrong

    async def test_malformed_json_is_an_error_without_fields(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/orders", content=b'{"orderLines": [', headers={"Content-Type": "application/json"})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (400, "malformed_body")
        assert problem["detail"] == "The body is not valid JSON: the error is at character 17."
        assert "errors" not in problem


def test_every_kind_of_error_has_a_status_and_a_unique_code() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.TesseraError) and kind is not errors.TesseraError
    }
    assert kinds == set(STATUSES_BY_KIND)
    codes = [kind.code for kind in kinds if "code" in vars(kind)]
    assert len(set(codes)) == len(codes)


def test_a_member_that_is_not_documented_cannot_be_raised() -> None:
    with pytest.raises(AssertionError, match="documented"):
        errors.Conflict(members={"colour": "red"})
