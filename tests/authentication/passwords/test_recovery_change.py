"""Whoever knows their password can change it."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app.accounts.single_use_links.models import LinkPurpose
from app.core.database.pool import Database
from tests.authentication.passwords.recovering import (
    NEW_PASSWORD,
    a_link,
    change_row,
    credential_of,
    events_about,
    links_of,
    sign_in,
    take_password,
    token_for,
)
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields
from tests.services import Start, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"


async def change(
    user: SignedInUser, current: str = PASSWORD, new: str = NEW_PASSWORD, **more: object
) -> httpx.Response:
    return await user.post("/auth/password/change", {"currentPassword": current, "newPassword": new, **more})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


async def test_the_new_one_is_the_only_one(api: Api, desk: Desk, user: SignedInUser) -> None:
    answer = await change(user)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200
    refused(await sign_in(api.http, user.email), 401, "wrong_email_or_password")
    assert await events_about(desk, user.id) == ["user.password_changed"]


async def test_other_sessions_end_at_once_and_this_one_goes_on(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # whose users are remembered
    user = await create_user(desk)
    other = (await sign_in(api.http, user.email)).json()
    bearer = {"Authorization": f"Bearer {other['jwt']}"}
    assert (await api.http.get("/me", headers=bearer)).status_code == 200

    assert (await change(user)).status_code == 204

    refused(await api.http.get("/me", headers=bearer), 401, "invalid_token")
    refreshed = await api.http.post("/auth/refresh", json={"refreshToken": other["refreshToken"]})
    refused(refreshed, 401, "invalid_refresh_token")
    assert (await user.get("/me")).status_code == 200
    assert (await desk.admin.get("/me")).status_code == 200


async def test_a_wrong_present_password_changes_nothing_and_signs_nobody_out(
    api: Api, desk: Desk, user: SignedInUser
) -> None:
    refused(await change(user, WRONG), 403, "wrong_password")
    refused(await change(user, WRONG, WRONG), 403, "wrong_password")
    assert (await user.get("/me")).status_code == 200
    assert (await sign_in(api.http, user.email)).status_code == 200
    assert await events_about(desk, user.id) == []


async def test_links_that_were_sent_before_lead_nowhere(api: Api, desk: Desk, user: SignedInUser) -> None:
    for purpose in LinkPurpose:
        await a_link(desk, user.id, user.email, purpose)
    tokens = {purpose: await token_for(desk, user.id, purpose) for purpose in LinkPurpose}
    assert (await change(user)).status_code == 204
    left = {link.purpose for link in await links_of(desk, user.id)}
    assert left == set(LinkPurpose) - {LinkPurpose.RESET_PASSWORD, LinkPurpose.CHANGE_EMAIL}
    body = {"token": tokens[LinkPurpose.RESET_PASSWORD], "newPassword": "another-heron-48-lamp"}
    refused(await api.http.post("/auth/password/reset", json=body), 422, "link_expired")
    verified = await api.http.post("/auth/email/verify", json={"token": tokens[LinkPurpose.CHANGE_EMAIL]})
    refused(verified, 422, "link_expired")


async def test_the_same_again_is_refused_however_it_is_typed(desk: Desk) -> None:
    user = await create_user(desk, password="Zoë-heron-47-lamp")
    for same in ("Zoë-heron-47-lamp", "Zoe\u0308-heron-47-lamp"):
        assert wrong_fields(await change(user, "Zoë-heron-47-lamp", same), "same_password") == {"newPassword"}


@pytest.mark.parametrize("weak", ["password", "lovelace1", "aaaaaaaaaaaa"])
async def test_a_weak_one_is_refused(api: Api, user: SignedInUser, weak: str) -> None:
    assert wrong_fields(await change(user, new=weak), "weak_password") == {"newPassword"}
    assert (await sign_in(api.http, user.email)).status_code == 200


async def test_who_has_none_is_told_how_to_get_one(desk: Desk, user: SignedInUser) -> None:
    await take_password(desk, user.id)
    assert "/auth/password/forgot" in refused(await change(user), 409, "no_password")["detail"]


async def test_of_two_changes_at_the_same_moment_one_comes_too_late(api: Api, desk: Desk, user: SignedInUser) -> None:
    passwords = [f"another-heron-{n}-lamp" for n in range(3)]
    answers = await asyncio.gather(*(change(user, new=new) for new in passwords))
    assert sorted(answer.status_code for answer in answers) == [204, 403, 403]
    for answer, new in zip(answers, passwords, strict=True):
        expected = 200 if answer.status_code == 204 else 401
        assert (await sign_in(api.http, user.email, new)).status_code == expected
    assert await events_about(desk, user.id) == ["user.password_changed"]


async def test_what_else_a_body_says_is_refused(user: SignedInUser) -> None:
    for field in ("role", "status", "orgId", "userId", "email"):
        assert wrong_fields(await change(user, **{field: "ADMIN"})) == {field}
    assert wrong_fields(await change(user, "", "short")) == {"currentPassword", "newPassword"}


async def test_it_takes_a_user(api: Api, desk: Desk) -> None:
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    refused(await api.http.post("/auth/password/change", json=body), 401, "missing_credential")
    secret = {"X-Org-Secret": desk.secret}
    refused(await api.http.post("/auth/password/change", json=body, headers=secret), 403, "access_token_required")


async def test_it_changes_nobody_elses(api: Api, database: Database, desk: Desk) -> None:
    email, other = unique_email(), await create_desk(api, database)
    mine, same = await create_user(desk, email), await create_user(other, email)
    before = (await credential_of(other, same.id)).password_hash
    assert (await change(mine)).status_code == 204
    assert (await credential_of(other, same.id)).password_hash == before
    assert (await same.get("/me")).status_code == 200


class TestGuesses:
    async def at(self, start: Start, user: SignedInUser, **settings: str) -> SignedInUser:
        http = (await start(**settings)).at("203.0.113.66")
        return SignedInUser(user.id, user.email, http, user.headers, user.session_id)

    async def test_are_throttled_as_those_of_strangers(self, start: Start, user: SignedInUser) -> None:
        there = await self.at(start, user, sign_in_failure_limit="2/5 minutes")
        assert [(await change(there, WRONG)).status_code for _ in range(2)] == [403, 403]
        refused(await change(there), 429, "rate_limited")
        body = {"email": unique_email(), "password": WRONG}
        refused(await there.post("/auth/email/change", body), 429, "rate_limited")
        assert (await there.get("/me")).status_code == 200

    async def test_at_the_same_moment_too(self, start: Start, user: SignedInUser) -> None:
        there = await self.at(start, user, sign_in_failure_limit="2/5 minutes")
        answers = await asyncio.gather(*(change(there, WRONG) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [403] * 2 + [429] * 4

    async def test_from_many_addresses_leave_three_to_each(self, start: Start, user: SignedInUser) -> None:
        service = await start(account_failure_limit="2/hour", sign_in_failure_limit="4/5 minutes")

        async def guess(address: str) -> int:
            there = SignedInUser(user.id, user.email, service.at(address), user.headers, user.session_id)
            return (await change(there, WRONG)).status_code

        assert [await guess(f"203.0.113.{n}") for n in range(2)] == [403, 403]
        assert [await guess("203.0.113.66") for _ in range(4)] == [403, 403, 403, 429]

    async def test_who_knows_it_is_not_counted(self, start: Start, user: SignedInUser) -> None:
        there = await self.at(start, user, sign_in_failure_limit="1/5 minutes")
        for _ in range(2):
            refused(await change(there, new="password"), 422, "weak_password")
        assert (await change(there)).status_code == 204
        assert (await change(there, NEW_PASSWORD, PASSWORD)).status_code == 204


async def test_somebody_suspended_meanwhile_changes_nothing(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    user = await create_user(desk)
    before = (await credential_of(desk, user.id)).password_hash
    assert (await user.get("/me")).status_code == 200  # and is remembered for a moment
    await change_row(desk, user.id, status="SUSPENDED")
    refused(await change(user), 401, "invalid_token")
    assert (await credential_of(desk, user.id)).password_hash == before
