"""Schemathesis on every operation with either credential: every response is documented, and none is a 500."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
import requests
from schemathesis.core.failures import FailureGroup

from tests.abuse.conftest import SignedInCaller
from tests.abuse.fuzzing import CHECKS, copy_document, each_operation, load_schema


# The parametrisation gives each operation a test name; without it, all operations would share one.
@pytest.mark.parametrize("credential", ["X-Org-Secret", "Authorization"])
@each_operation(20, signUpAdmin=5, signInAdmin=5)  # fewer examples: each computes an Argon2 hash
def test_an_insider_gets_only_documented_responses(
    case: Any, credential: str, address: str, http: requests.Session, insider: SignedInCaller
) -> None:
    with suppress(KeyError, TypeError, ValueError):
        UUID(case.path_parameters["id"])
        # Replace well-formed ids by the ids of existing resources.
        case.path_parameters["id"] = insider.ids[case.operation.path.split("/")[1]]
    headers = {credential: insider.headers[credential]}

    case.call_and_validate(base_url=address, session=http, headers=headers, checks=CHECKS)


def test_every_operation_is_tested(request: pytest.FixtureRequest) -> None:
    names = {item.name for item in request.session.items if item.name.startswith("test_an_insider")}
    operations = [(path, method) for path, item in copy_document()["paths"].items() for method in item]

    assert len(names) == 2 * len(operations)


def test_an_undocumented_status_is_detected(address: str, http: requests.Session) -> None:
    document = copy_document()
    del document["paths"]["/me"]["get"]["responses"]["401"]
    case = load_schema(1, document)["/me"]["GET"].Case()

    with pytest.raises(FailureGroup, match="Undocumented status code"):
        case.call_and_validate(base_url=address, session=http, checks=CHECKS)


def test_a_response_that_does_not_match_its_schema_is_detected(address: str, http: requests.Session) -> None:
    document = copy_document()
    document["components"]["schemas"]["Problem"]["required"].append("colour")
    case = load_schema(1, document)["/me"]["GET"].Case()

    with pytest.raises(FailureGroup, match="colour"):
        case.call_and_validate(base_url=address, session=http, checks=CHECKS)
