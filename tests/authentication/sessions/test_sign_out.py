"""Sign-out by access token, and by refresh token alone."""

from __future__ import annotations

import pytest

from tests.authentication.sessions.test_refresh import create_user_and_sign_in, is_valid_access_token, refresh
from tests.organisation_client import Api, Desk
from tests.problems import assert_problem, read_invalid_fields


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer expired"}, {"X-Org-Secret": "tsk_x"}])
async def test_a_refresh_token_alone_ends_its_session(api: Api, desk: Desk, headers: dict[str, str]) -> None:
    tokens, other = await create_user_and_sign_in(desk), await create_user_and_sign_in(desk)
    body = {"refreshToken": tokens["refreshToken"]}
    for _ in range(2):  # the second finds no session
        answer = await api.http.post("/auth/signout", json=body, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(await refresh(api, tokens["refreshToken"]), 401, "invalid_refresh_token")
    assert not await is_valid_access_token(api, tokens["accessToken"])
    assert await is_valid_access_token(api, other["accessToken"])


async def test_an_earlier_refresh_token_ends_the_session_too(api: Api, desk: Desk) -> None:
    tokens = await create_user_and_sign_in(desk)
    renewed = (await refresh(api, tokens["refreshToken"])).json()
    assert (await api.http.post("/auth/signout", json={"refreshToken": tokens["refreshToken"]})).status_code == 204
    assert not await is_valid_access_token(api, renewed["accessToken"])


async def test_both_tokens_end_both_sessions(api: Api, desk: Desk) -> None:
    first, second = await create_user_and_sign_in(desk), await create_user_and_sign_in(desk)
    answer = await api.http.post(
        "/auth/signout",
        json={"refreshToken": second["refreshToken"]},
        headers={"Authorization": f"Bearer {first['accessToken']}"},
    )
    assert answer.status_code == 204
    for tokens in (first, second):
        assert not await is_valid_access_token(api, tokens["accessToken"])


async def test_without_a_valid_token_nothing_is_ended(api: Api, desk: Desk) -> None:
    tokens = await create_user_and_sign_in(desk)
    assert_problem(await api.http.post("/auth/signout"), 401, "missing_credential")
    assert_problem(await api.http.post("/auth/signout", json={}), 401, "missing_credential")
    forged = tokens["refreshToken"][:-1] + ("A" if tokens["refreshToken"][-1] != "A" else "B")
    for token in (forged, "trt_x", desk.secret):
        answer = await api.http.post("/auth/signout", json={"refreshToken": token})
        assert_problem(answer, 401, "invalid_refresh_token")
    assert read_invalid_fields(await api.http.post("/auth/signout", json={"refreshToken": None})) == {"refreshToken"}
    assert await is_valid_access_token(api, tokens["accessToken"])
