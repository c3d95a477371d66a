"""Refresh tokens: each is good once, and one that is used twice ends its session."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
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
from app.core.outbox.models import EventRow
from app.core.security import opaque_tokens as tokens
from app.organisations.models import Organisation
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Api, Desk, create_desk
from tests.problems import refused, wrong_fields
from tests.services import create_user, unique_email

JSON = dict[str, Any]


async def signed_in(desk: Desk, **fields: object) -> JSON:
    email = unique_email()
    await create_user(desk, email)
    answer = await desk.api.http.post("/auth/signin", json={"email": email, "password": PASSWORD, **fields})
    assert answer.status_code == 200, answer.text
    body: JSON = answer.json()
    return body


async def refresh(api: Api, token: object) -> httpx.Response:
    return await api.http.post("/auth/refresh", json={"refreshToken": token})


async def may_act(api: Api, token: str) -> bool:
    answer = await api.http.get("/me", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        refused(answer, 401, "invalid_token")
    return answer.status_code == 200


async def change(desk: Desk, token: str, **values: object) -> None:
    """Change the session that a refresh token is of."""
    session_id = tokens.read_refresh_token(SECRET_KEY, token).id
    async with desk.database.session(desk.id) as db:
        which = (Session.org_id == desk.id, Session.id == session_id)
        await db.execute(update(Session).where(*which).values(values))


async def long_after(desk: Desk, token: str) -> None:
    """Let the last refresh of the token's session be so long ago that no answer can still be on its way."""
    await change(desk, token, rotated_at=real_now() - REFRESH_RETRY_WINDOW - timedelta(seconds=1))


async def test_one_gets_the_next_and_an_access_token_that_works(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    answer = await refresh(api, first["refreshToken"])

    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"jwt", "accessToken", "tokenType", "expiresIn", "refreshToken", "refreshExpiresIn"}
    assert (body["expiresIn"], body["refreshExpiresIn"]) == (1800, 86_400)
    assert body["refreshToken"] != first["refreshToken"]
    assert body["accessToken"] == body["jwt"] != first["jwt"]
    assert await may_act(api, body["jwt"])
    assert (await refresh(api, body["refreshToken"])).status_code == 200


async def test_remember_me_lasts_thirty_days_instead_of_one(api: Api, desk: Desk) -> None:
    first = await signed_in(desk, rememberMe=True)
    assert (first["refreshExpiresIn"], first["sessionTimeInMinutes"]) == (30 * 86_400, 30 * 1440)
    assert (await refresh(api, first["refreshToken"])).json()["refreshExpiresIn"] == 30 * 86_400
    assert (await signed_in(desk))["refreshExpiresIn"] == 86_400


async def test_one_that_is_used_again_ends_its_session(api: Api, desk: Desk) -> None:
    first, other = await signed_in(desk), await signed_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    await long_after(desk, first["refreshToken"])

    refused(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")

    refused(await refresh(api, second["refreshToken"]), 401, "invalid_refresh_token")
    assert not await may_act(api, second["jwt"])
    assert (await refresh(api, other["refreshToken"])).status_code == 200
    async with desk.database.session(desk.id) as db:
        revoked = (
            await db.scalars(
                select(EventRow).where(EventRow.org_id == desk.id, EventRow.type == "user.session_revoked")
            )
        ).all()
    assert [str(event.subject_id) for event in revoked] == [first["user"]["id"]]


async def test_one_from_before_the_last_ends_its_session_at_once(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    third = (await refresh(api, second["refreshToken"])).json()

    refused(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")
    refused(await refresh(api, third["refreshToken"]), 401, "invalid_refresh_token")


async def test_twenty_at_once_get_the_same_successor(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    answers = await asyncio.gather(*(refresh(api, first["refreshToken"]) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refreshToken"] for answer in answers}
    for answer in answers:
        assert await may_act(api, answer.json()["jwt"])
    assert (await refresh(api, successor)).status_code == 200


async def test_a_retry_gets_the_same_successor_for_ten_seconds(api: Api, desk: Desk) -> None:
    assert timedelta(seconds=10) == REFRESH_RETRY_WINDOW
    first = await signed_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    await change(desk, first["refreshToken"], rotated_at=real_now() - timedelta(seconds=8))
    again = (await refresh(api, first["refreshToken"])).json()
    assert again["refreshToken"] == second["refreshToken"]


async def test_one_that_has_expired_is_refused_and_forgotten(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    await change(desk, first["refreshToken"], expires_at=real_now() - timedelta(seconds=1))
    refused(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")
    assert not await may_act(api, first["jwt"])
    async with desk.database.session(desk.id) as db:
        assert await delete_expired(db, desk.id, real_now()) == 1
        assert await delete_expired(db, desk.id, real_now()) == 0


@pytest.mark.parametrize("status", ["SUSPENDED", "REJECTED", "PENDING", "ERASED"])
async def test_nobody_who_may_not_act_refreshes(api: Api, desk: Desk, status: str) -> None:
    first = await signed_in(desk)
    async with desk.database.session(desk.id) as db:
        which = (User.org_id == desk.id, User.id == UUID(first["user"]["id"]))
        await db.execute(update(User).where(*which).values(status=status))
    refused(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")


async def test_nobody_of_a_suspended_organisation_refreshes(api: Api, desk: Desk) -> None:
    other = await create_desk(api, desk.database)
    first = await signed_in(other)
    async with other.database.session(other.id) as db:
        await db.execute(update(Organisation).where(Organisation.id == other.id).values(status="SUSPENDED"))
    refused(await refresh(api, first["refreshToken"]), 401, "invalid_refresh_token")


async def test_neither_kind_of_token_does_for_the_other(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    assert not await may_act(api, first["refreshToken"])
    refused(await refresh(api, first["jwt"]), 401, "invalid_refresh_token")
    link = tokens.link_token(SECRET_KEY, desk.id, tokens.read_refresh_token(SECRET_KEY, first["refreshToken"]).id)
    refused(await refresh(api, link), 401, "invalid_refresh_token")


async def test_one_that_is_made_up_is_refused_and_ends_nothing(api: Api, desk: Desk) -> None:
    first = await signed_in(desk)
    good = first["refreshToken"]
    raw = bytearray(base64.urlsafe_b64decode(good.removeprefix(tokens.REFRESH_PREFIX)))
    for place in (0, 20, 40, 60, 80):
        changed = bytearray(raw)
        changed[place] ^= 1
        made_up = tokens.REFRESH_PREFIX + base64.urlsafe_b64encode(changed).decode()
        refused(await refresh(api, made_up), 401, "invalid_refresh_token")
    named = tokens.read_refresh_token(SECRET_KEY, good)
    for wrong in (
        good[:-4], good + "AAAA", good.upper(), good[4:], "trt_", "é", "trt_" + "A" * 108,
        tokens.new_refresh_token("another-key", named.org_id, named.id),
    ):  # fmt: skip
        refused(await refresh(api, wrong), 401, "invalid_refresh_token")
    assert (await refresh(api, good)).status_code == 200


async def test_what_is_no_text_is_not_taken(api: Api) -> None:
    for wrong in (None, 5, "", "a" * 4097, ["trt_"]):
        assert wrong_fields(await refresh(api, wrong)) == {"refreshToken"}


async def test_no_token_is_in_the_database(desk: Desk, api: Api) -> None:
    first = await signed_in(desk)
    second = (await refresh(api, first["refreshToken"])).json()
    async with desk.database.session(desk.id) as db:
        rows = (await db.execute(select(Session.__table__).where(Session.org_id == desk.id))).all()
        events = (await db.scalars(select(EventRow).where(EventRow.org_id == desk.id))).all()
    kept = repr([list(row) for row in rows]) + repr([event.data for event in events])
    for token in (first["refreshToken"], second["refreshToken"]):
        assert token not in kept
        assert repr(base64.urlsafe_b64decode(token.removeprefix(tokens.REFRESH_PREFIX))[32:56])[2:-1] not in kept
