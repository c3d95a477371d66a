"""Limited operations announce their limits with every response."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.databases import superuser_connection
from tests.organisation_client import PASSWORD, Api, Desk
from tests.postgres import TestServer
from tests.services import Start, create_user, start, unique_email

__all__ = ["start"]

JSON = {"Content-Type": "application/json"}
ITEM = re.compile(r'"([a-z-]+)";r=(\d+);t=(\d+)')
POLICY = re.compile(r'"([a-z-]+)";q=(\d+);w=(\d+)')


def read_limits(answer: httpx.Response) -> dict[str, int]:
    """Return how many attempts are left, by the name of the limit."""
    items = [ITEM.fullmatch(item) for item in answer.headers["ratelimit"].split(", ")]
    policies = [POLICY.fullmatch(item) for item in answer.headers["ratelimit-policy"].split(", ")]
    found = {item[1]: int(item[2]) for item in items if item}
    assert len(found) == len(items), answer.headers["ratelimit"]
    assert [policy and policy[1] for policy in policies] == list(found)
    assert list(found.values()) == sorted(found.values()), "the tightest comes first"
    return found


async def sign_in(http: httpx.AsyncClient, email: str, password: str = PASSWORD) -> httpx.Response:
    return await http.post("/auth/signin", json={"email": email, "password": password})


async def test_every_response_of_a_limited_operation_announces_what_is_left(start: Start) -> None:
    service = await start(sign_in_limit="100/minute", sign_in_failure_limit="10/minute")
    http, email = service.api.http, unique_email()
    wrong = await sign_in(http, email, "wrong")
    assert (wrong.status_code, read_limits(wrong)) == (401, {"failures": 9, "sign-in": 99})
    bad: list[dict[str, Any]] = [
        {"json": {}},
        {"content": b"{", "headers": JSON},
        {"content": b"a", "headers": {"Content-Type": "text/plain"}},
        {"content": b"x" * 1_100_000, "headers": JSON},
        {"json": {}, "headers": {"X-Large": "x" * 40_000}},
    ]
    answers = [await http.post("/auth/signin", **one) for one in bad]
    answers.append(await http.post(f"/auth/signin?{'a' * 9000}"))
    assert [answer.status_code for answer in answers] == [422, 400, 415, 413, 431, 414]
    for answer in answers:  # none of them was an attempt
        assert read_limits(answer) == {"sign-in": 99}


async def test_a_good_sign_in_takes_no_attempt_at_the_password(start: Start, desk: Desk) -> None:
    service = await start(sign_in_limit="100/minute", sign_in_failure_limit="10/minute")
    email = unique_email()
    await create_user(desk, email)
    answer = await sign_in(service.api.http, email)
    assert (answer.status_code, read_limits(answer)) == (200, {"failures": 10, "sign-in": 99})


async def test_the_refusal_announces_the_limit_that_is_used_up_first(start: Start) -> None:
    service = await start(sign_in_failure_limit="1/minute")
    email = unique_email()
    answers = [await sign_in(service.api.http, email, "wrong") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [401, 429]
    assert next(iter(read_limits(answers[1]).items())) == ("failures", 0)
    assert 1 <= int(answers[1].headers["retry-after"]) <= 60


async def test_limits_of_users_are_announced_before_and_after_they_are_known(desk: Desk) -> None:
    invitation = {"firstName": "Bo", "email": f"{uuid4().hex}@customer.example", "role": "ENGINEER"}
    anonymous = await desk.api.http.post("/users", json=invitation)
    refused = await desk.admin.post("/users", {})
    invited = await desk.admin.post("/users", invitation)
    again = await desk.admin.post("/users", {})
    assert [one.status_code for one in (anonymous, refused, invited, again)] == [401, 422, 201, 422]
    assert [read_limits(one)["invitations"] for one in (anonymous, refused, invited, again)] == [1000, 1000, 999, 999]
    assert read_limits(invited)["invitation"] == 9


@pytest.mark.parametrize("path", ["/tickets", "/me", "/nothing", "/health/live"])
async def test_other_operations_announce_nothing(api: Api, desk: Desk, path: str) -> None:
    assert "ratelimit" not in (await api.http.get(path, headers=desk.admin.headers)).headers


async def test_sign_ins_that_the_service_was_too_busy_for_are_given_back(start: Start) -> None:
    service = await start(sign_in_limit="100/hour", sign_in_failure_limit="100/hour")
    http, email = service.api.http, unique_email()
    answers = await asyncio.gather(*(sign_in(http, email, "wrong") for _ in range(50)))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {401, 503}
    assert statuses[503] > 5
    left = 100 - statuses[401] - 1
    assert read_limits(await sign_in(http, email, "wrong")) == {"failures": left, "sign-in": left}


async def test_any_request_that_fails_because_of_the_service_is_given_back(start: Start, server: TestServer) -> None:
    service = await start(sign_up_limit="100/hour", statement_timeout=0.2)

    async def sign_up() -> httpx.Response:
        return await service.api.http.post("/auth/org/signup", json={"name": "Fyle", "domain": f"f{uuid4().hex}.test"})

    async with superuser_connection(server) as superuser, superuser.transaction():
        await superuser.execute("LOCK TABLE organisations")
        answers = await asyncio.gather(*(sign_up() for _ in range(3)))
    assert [answer.status_code for answer in answers] == [503] * 3
    assert max(read_limits(answer)["org-sign-up"] for answer in answers) == 100
    assert read_limits(await sign_up()) == {"org-sign-up": 99}


async def test_a_sign_in_that_is_refused_before_its_password_is_compared_counts_once(start: Start) -> None:
    service = await start(sign_in_limit="100/hour", sign_in_failure_limit="2/hour")
    http, email = service.api.http, unique_email()
    statuses = [(await sign_in(http, email, "wrong")).status_code for _ in range(5)]
    assert statuses == [401, 401, 429, 429, 429]
    assert read_limits(await sign_in(http, unique_email(), "wrong"))["sign-in"] == 97
