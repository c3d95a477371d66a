"""Schemathesis on every operation without credentials, and with invalid ones."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.abuse.fuzzing import CHECKS, each_operation


@pytest.mark.parametrize("headers", [{}, {"X-Org-Secret": "tsk_no", "Authorization": "Bearer no"}], ids=["none", "bad"])
@each_operation(12, signInAdmin=5)
def test_a_stranger_gets_only_documented_responses(
    case: Any, headers: dict[str, str], address: str, http: requests.Session
) -> None:
    response = case.call_and_validate(base_url=address, session=http, headers=headers, checks=CHECKS)

    if case.operation.definition.raw.get("security"):
        assert response.status_code >= 400
