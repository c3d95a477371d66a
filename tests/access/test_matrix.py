"""Every operation responds to every kind of caller with the status that the table says."""

from __future__ import annotations

import pytest

from tests.access.requests import REQUESTS
from tests.access.table import COLUMNS, STATUSES
from tests.access.world import World, create_world
from tests.authentication.account_state import age_session
from tests.docs.openapi import OPERATIONS
from tests.organisation_client import Api, Desk
from tests.problems import assert_problem

METHODS = {operation.definition["operationId"]: operation.method for operation in OPERATIONS}


def test_no_operation_is_missing_from_the_table() -> None:
    assert set(STATUSES) == set(METHODS) == set(REQUESTS)


@pytest.fixture
async def world(desk: Desk) -> World:
    return await create_world(desk)


@pytest.mark.parametrize("operation", STATUSES)
async def test_each_kind_of_caller_gets_what_the_table_says(api: Api, world: World, operation: str) -> None:
    statuses = {}
    for column in COLUMNS:
        caller = await world.create_caller(column)
        request = await REQUESTS[operation](world, caller)
        if column == "stale" and caller is not None:
            await age_session(world.desk, caller.session_id)
        answer = await api.http.request(
            METHODS[operation],
            request.path,
            json=request.body,
            files=request.files,
            headers=world.headers(column, caller),
        )
        statuses[column] = answer.status_code
        if answer.status_code >= 400:
            document = assert_problem(answer, answer.status_code, answer.json()["code"])
            if answer.status_code == 401:
                assert document["code"] == {"revoked": "invalid_secret_key"}.get(column, "missing_credential")
    assert statuses == STATUSES[operation]


def test_an_operation_declares_the_permission_that_the_table_implies() -> None:
    """An auditor can view everything and change nothing, so all operations that do more than view are refused."""
    for operation in OPERATIONS:
        row, needed = STATUSES[operation.definition["operationId"]], operation.definition["x-permission"]
        if ":" in needed:
            assert (row["auditor"] == 403) == (not needed.endswith(":view")), operation
            assert f"`{needed}`" in operation.definition["description"]
        else:
            assert row["auditor"] == row["ADMIN"], operation
            assert (needed == "none") == (row["anonymous"] == row["ADMIN"]), operation
