"""Schemathesis on every operation, with either credential: nothing breaks, and every answer is a documented one."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
import requests
from schemathesis.core.failures import FailureGroup

from tests.abuse.conftest import Insider
from tests.abuse.fuzzing import CHECKS, each_operation, the_document, the_schema


# The names of the tests need this parametrisation: without one, all operations would share one name.
@pytest.mark.parametrize("credential", ["X-Org-Secret", "Authorization"])
@each_operation(20, signUpAdmin=5, signInAdmin=5)  # an argon2 hash takes a while
def test_an_insider_gets_documented_answers_only(
    case: Any, credential: str, address: str, http: requests.Session, insider: Insider
) -> None:
    with suppress(KeyError, TypeError, ValueError):
        UUID(case.path_parameters["id"])
        # Ids that could be somebody's are those of something that is there.
        case.path_parameters["id"] = insider.ids[case.operation.path.split("/")[1]]
    headers = {credential: insider.headers[credential]}

    case.call_and_validate(base_url=address, session=http, headers=headers, checks=CHECKS)


def test_every_operation_is_among_them(request: pytest.FixtureRequest) -> None:
    names = {item.name for item in request.session.items if item.name.startswith("test_an_insider")}
    operations = [(path, method) for path, item in the_document()["paths"].items() for method in item]

    assert len(names) == 2 * len(operations)


def test_an_answer_that_is_not_documented_is_noticed(address: str, http: requests.Session) -> None:
    document = the_document()
    del document["paths"]["/me"]["get"]["responses"]["401"]
    case = the_schema(1, document)["/me"]["GET"].Case()

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.call_and_validate(base_url=address, session=http, checks=CHECKS)


def test_an_answer_that_is_not_as_documented_is_noticed(address: str, http: requests.Session) -> None:
    document = the_document()
    document["components"]["schemas"]["Problem"]["required"].append("colour")
    case = the_schema(1, document)["/me"]["GET"].Case()

    with pytest.raises(FailureGroup, match="colour"):
        case.call_and_validate(base_url=address, session=http, checks=CHECKS)
