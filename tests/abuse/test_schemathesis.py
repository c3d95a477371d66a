"""Schemathesis on every operation, with both credentials: nothing breaks, and nothing is answered that is not documented."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import requests

from tests.abuse.conftest import Insider
from tests.abuse.fuzzing import CHECKS, the_schema

# An argon2 hash takes a while.
SCHEMA = the_schema(30, signUpAdmin=5, signInAdmin=10)


@SCHEMA.parametrize()
def test_an_insider_gets_documented_answers_only(
    case: Any, address: str, http: requests.Session, insider: Insider
) -> None:
    with suppress(KeyError, TypeError, ValueError):
        UUID(case.path_parameters["id"])
        # Ids that could be somebody's are those of something that is there.
        case.path_parameters["id"] = insider.ids[case.operation.path.split("/")[1]]

    case.call_and_validate(base_url=address, session=http, headers=insider.headers, checks=CHECKS)
