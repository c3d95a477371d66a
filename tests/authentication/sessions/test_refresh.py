"""Refresh tokens: each can be used once, and using one twice ends its session."""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts.users.models import User
from app.authentication.sessions.models import Session
from app.authentication.sessions.rules import REFRESH_RETRY_WINDOW
from app.authentication.sessions.service import delete_expired
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security import opaque_tokens as tokens
from app.organisations.models import Organisation
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, create_user, unique_email

JSON = dict[str, Any]


async def create_user_and_sign_in(desk: Desk, **fields: object) -> JSON:
    email = unique_email()
    await create_user(desk, email)
    answer = await desk.api.http.post("/auth/signin", json={"email": email, "password": PASSWORD, **fields})
    assert answer.status_code == 200, answer.text
    body: JSON = answer.json()
    return body


async def refresh(api: Api, token: object) -> httpx.Response:
    return await api.http.post("/auth/refresh", json={"refreshToken": token})


async def is_valid_access_token(api: Api, token: str) -> bool:
    answer = await api.http.get("/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        assert_problem(answer, 401, "invalid_token")
    return answer.status_code == 200


async def update_session(desk: Desk, token: str, **values: object) -> None:
    """Update the session of a refresh token."""
    session_id = tokens.read_refresh_token(SECRET_KEY, token).id
    async with desk.database.session(desk.id) as db:
        conditions = (Session.org_id == desk.id, Session.id == session_id)
        await db.execute(update(Session).where(*conditions).values(values))


async def pass_retry_window(desk: Desk, token: str) -> None:
    """Move the last refresh of the token's session to before the window for retries."""
    await update_session(desk, token, rotated_at=real_now() - REFRESH_RETRY_WINDOW - timedelta(seconds=1))


async def test_a_refresh_returns_a_new_refresh_token_and_a_valid_access_token(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    answer = await refresh(api, first["refreshToken"])

    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"jwt", "accessToken", "tokenType", "expiresIn", "refreshToken", "refreshExpiresIn"}
    assert (body["expiresIn"], body["refreshExpiresIn"]) == (1800, 86_400)
    assert body["refreshToken"] != first["refreshToken"]
    assert body["accessToken"] == body["jwt"] != first["jwt"]
    assert await is_valid_access_token(api, body["jwt"])
    assert (await refresh(api, body["refreshToken"])).status_code == 200


async def test_remember_me_lasts_thirty_days_instead_of_one(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk, rememberMe=True)
    assert (first["refreshExpiresIn"], first["sessionTimeInMinutes"]) == (30 * 86_400, 30 * 1440)
    assert (await refresh(api, first["refreshToken"])).json()["refreshExpiresIn"] == 30 * 86_400
    assert (await create_user_and_sign_in(desk))["refreshExpiresIn"] == 86_400


async def test_using_a_token_again_ends_its_session(api: Api, desk: Desk) -> None:
    first, other = await create_user_and_sign_in(desk), await create_user_and_sign_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    await pass_retry_window(desk, first["refreshToken"])

    assert_problem(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")

    assert_problem(await refresh(api, second["refreshToken"]), 401, "invalid_refresh_token")
    assert not await is_valid_access_token(api, second["jwt"])
    assert (await refresh(api, other["refreshToken"])).status_code == 200
    async with desk.database.session(desk.id) as db:
        revoked = (
            await db.scalars(
                select(EventRow).where(EventRow.org_id == desk.id, EventRow.type == "user.session_revoked")
            )
        ).all()
    assert [str(event.subject_id) for event in revoked] == [first["user"]["id"]]


async def test_reusing_a_token_from_before_the_previous_refresh_ends_the_session_at_once(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    third = (await refresh(api, second["refreshToken"])).json()

    assert_problem(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")
    assert_problem(await refresh(api, third["refreshToken"]), 401, "invalid_refresh_token")


async def test_concurrent_refreshes_get_the_same_successor(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    answers = await asyncio.gather(*(refresh(api, first["refreshToken"]) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refreshToken"] for answer in answers}
    for answer in answers:
        assert await is_valid_access_token(api, answer.json()["jwt"])
    assert (await refresh(api, successor)).status_code == 200


async def test_a_retry_gets_the_same_successor_for_ten_seconds(api: Api, desk: Desk) -> None:
    assert timedelta(seconds=10) == REFRESH_RETRY_WINDOW
    first = await create_user_and_sign_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    await update_session(desk, first["refreshToken"], rotated_at=real_now() - timedelta(seconds=8))
    again = (await refresh(api, first["refreshToken"])).json()
    assert again["refreshToken"] == second["refreshToken"]


async def test_an_expired_session_is_refused_and_deleted(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    await update_session(desk, first["refreshToken"], expires_at=real_now() - timedelta(seconds=1))
    assert_problem(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")
    assert not await is_valid_access_token(api, first["jwt"])
    async with desk.database.session(desk.id) as db:
        assert await delete_expired(db, desk.id, real_now()) == 1
        assert await delete_expired(db, desk.id, real_now()) == 0


@pytest.mark.parametrize("status", ["SUSPENDED", "REJECTED", "PENDING", "ERASED"])
async def test_an_inactive_user_cannot_refresh(api: Api, desk: Desk, status: str) -> None:
    first = await create_user_and_sign_in(desk)
    async with desk.database.session(desk.id) as db:
        conditions = (User.org_id == desk.id, User.id == UUID(first["user"]["id"]))
        await db.execute(update(User).where(*conditions).values(status=status))
    assert_problem(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")


async def test_a_user_of_a_suspended_organisation_cannot_refresh(api: Api, desk: Desk) -> None:
    other = await create_desk(api, desk.database)
    first = await create_user_and_sign_in(other)
    async with other.database.session(other.id) as db:
        await db.execute(update(Organisation).where(Organisation.id == other.id).values(status="SUSPENDED"))
    assert_problem(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")


async def test_other_kinds_of_tokens_are_refused(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    assert not await is_valid_access_token(api, first["refreshToken"])
    assert_problem(await refresh(api, first["jwt"]), 401, "invalid_refresh_token")
    link = tokens.make_link_token(SECRET_KEY, desk.id, tokens.read_refresh_token(SECRET_KEY, first["refreshToken"]).id)
    assert_problem(await refresh(api, link), 401, "invalid_refresh_token")


async def test_a_forged_token_is_refused_and_ends_no_session(api: Api, desk: Desk) -> None:
    first = await create_user_and_sign_in(desk)
    good = first["refreshToken"]
    raw = bytearray(base64.urlsafe_b64decode(good.removeprefix(tokens.REFRESH_PREFIX)))
    for position in (0, 20, 40, 60, 80):
        changed = bytearray(raw)
        changed[position] ^= 1
        forged = tokens.REFRESH_PREFIX + base64.urlsafe_b64encode(changed).decode()
        assert_problem(await refresh(api, forged), 401, "invalid_refresh_token")
    named = tokens.read_refresh_token(SECRET_KEY, good)
    for wrong in (
        good[:-4], good + "AAAA", good.upper(), good[4:], "trt_", "é", "trt_" + "A" * 108,
        tokens.make_refresh_token("another-key", named.org_id, named.id),
    ):  # fmt: skip
        assert_problem(await refresh(api, wrong), 401, "invalid_refresh_token")
    assert (await refresh(api, good)).status_code == 200


async def test_an_invalid_token_field_is_reported(api: Api) -> None:
    for wrong in (None, 5, "", "a" * 4097, ["trt_"]):
        assert read_invalid_fields(await refresh(api, wrong)) == {"refreshToken"}


async def test_tokens_are_not_stored(desk: Desk, api: Api) -> None:
    first = await create_user_and_sign_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    async with desk.database.session(desk.id) as db:
        rows = (await db.execute(select(Session.__table__).where(Session.org_id == desk.id))).all()
        events = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id))).all()
    stored = repr([list(row) for row in rows]) + repr([event.data for event in events])
    for token in (first["refreshToken"], second["refreshToken"]):
        assert token not in stored
        assert repr(base64.urlsafe_b64decode(token.removeprefix(tokens.REFRESH_PREFIX))[32:56])[2:-1] not in stored


# --- the absolute end of a session ------------------------------------------------------------------------------------


async def test_a_session_ends_after_90_days_however_often_it_is_refreshed(api: Api, desk: Desk) -> None:
    signed_in = await create_user_and_sign_in(desk, rememberMe=True)
    assert signed_in["refreshExpiresIn"] == timedelta(days=30).total_seconds()
    begun_at = real_now() - timedelta(days=89, hours=23)
    await update_session(desk, signed_in["refreshToken"], created_at=begun_at)

    refreshed = (await refresh(api, signed_in["refreshToken"])).json()

    assert abs(refreshed["refreshExpiresIn"] - 3600) < 60
    headers = {"Authorization": f"Bearer {refreshed['jwt']}"}
    sessions = (await api.http.get("/me/sessions", headers=headers)).json()["items"]
    (listed,) = (one for one in sessions if one["current"])
    assert abs(datetime.fromisoformat(listed["expiresAt"]) - begun_at - timedelta(days=90)) < timedelta(seconds=1)
    begun_at = real_now() - timedelta(days=90) - timedelta(seconds=1)
    await update_session(desk, refreshed["refreshToken"], created_at=begun_at)
    assert_problem(await refresh(api, refreshed["refreshToken"]), 401, "invalid_refresh_token")


async def test_an_access_token_does_not_outlive_its_session(api: Api, desk: Desk) -> None:
    signed_in = await create_user_and_sign_in(desk)
    begun_at = real_now() - timedelta(days=90) + timedelta(minutes=10)
    await update_session(desk, signed_in["refreshToken"], created_at=begun_at)

    refreshed = (await refresh(api, signed_in["refreshToken"])).json()

    assert 0 < refreshed["expiresIn"] <= 600
    verified = (await api.http.post("/auth/verify", json={"token": refreshed["jwt"]})).json()
    assert verified["exp"] <= (begun_at + timedelta(days=90)).timestamp()


async def test_the_operator_sets_how_long_sessions_last(database: Database, start: Start) -> None:
    api = (await start(session_max_days=2)).api
    desk = await create_desk(api, database)
    signed_in = await create_user_and_sign_in(desk, rememberMe=True)
    assert signed_in["refreshExpiresIn"] == timedelta(days=2).total_seconds()
    await update_session(desk, signed_in["refreshToken"], created_at=real_now() - timedelta(days=2, seconds=1))
    assert_problem(await refresh(api, signed_in["refreshToken"]), 401, "invalid_refresh_token")
