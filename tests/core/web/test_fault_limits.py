"""Requests with very many faults are refused cheaply, and the response says how many of the faults it lists."""

from __future__ import annotations

import orjson
import pytest

from tests.organisation_client import Api, Desk
from tests.problems import assert_problem

JSON = {"Content-Type": "application/json"}
PATHS = ("/tickets", "/auth/signin")  # a fast route and an ordinary one
TOO_MANY_MEMBERS = "An object in the body may have at most 1000 members."


def unknown_fields(count: int) -> dict[str, str]:
    """Make an object with this many unknown fields, each of 40 bytes."""
    return {f"field{number}": "x" * 30 for number in range(count)}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        unknown_fields(1001),
        {"requester": unknown_fields(1001)},
        {"email": [[unknown_fields(1001)]]},
        [unknown_fields(1001)],
    ],
    ids=["body", "field", "lists", "list"],
)
async def test_an_object_with_too_many_members_is_one_fault(api: Api, desk: Desk, path: str, body: object) -> None:
    headers = JSON | {"X-Org-Secret": desk.secret}
    answer = await api.http.post(path, content=orjson.dumps(body), headers=headers)

    assert assert_problem(answer, 422, "invalid_input")["errors"] == [{"field": "", "message": TOO_MANY_MEMBERS}]


@pytest.mark.parametrize("path", PATHS)
async def test_of_many_faults_the_first_50_are_listed_and_all_are_counted(api: Api, desk: Desk, path: str) -> None:
    headers = JSON | {"X-Org-Secret": desk.secret}
    answer = await api.http.post(path, content=orjson.dumps(unknown_fields(1000)), headers=headers)

    document = assert_problem(answer, 422, "invalid_input")
    total = 1000 + (3 if path == "/tickets" else 2)  # and the missing fields
    assert len(document["errors"]) == 50
    assert document["detail"].endswith(
        f"There are {total - 1} more errors: `errors` lists the first 50 of all {total}."
    )
