"""Changing a password with the current one."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from app.accounts.single_use_links.models import LinkPurpose
from app.core.database.pool import Database
from tests.authentication.account_state import (
    NEW_PASSWORD,
    issue_link,
    latest_token,
    list_event_types,
    list_links,
    read_credential,
    remove_password,
    sign_in,
    update_user,
    verify_email,
)
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"


async def change(
    user: SignedInUser, current: str = PASSWORD, new: str = NEW_PASSWORD, **more: object
) -> httpx.Response:
    return await user.post("/auth/password/change", {"currentPassword": current, "newPassword": new, **more})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


async def test_the_new_password_replaces_the_old_one(api: Api, desk: Desk, user: SignedInUser) -> None:
    answer = await change(user)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200
    assert_problem(await sign_in(api.http, user.email), 401, "wrong_email_or_password")
    assert await list_event_types(desk, user.id) == ["user.password_changed"]


async def test_other_sessions_end_at_once_and_this_one_continues(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    user = await create_user(desk)
    other = (await sign_in(api.http, user.email)).json()
    bearer = {"Authorization": f"Bearer {other['jwt']}"}
    assert (await api.http.get("/me", headers=bearer)).status_code == 200

    assert (await change(user)).status_code == 204

    assert_problem(await api.http.get("/me", headers=bearer), 401, "invalid_token")
    refreshed = await api.http.post("/auth/refresh", json={"refreshToken": other["refreshToken"]})
    assert_problem(refreshed, 401, "invalid_refresh_token")
    assert (await user.get("/me")).status_code == 200
    assert (await desk.admin.get("/me")).status_code == 200


async def test_a_wrong_current_password_changes_nothing_and_ends_no_session(
    api: Api, desk: Desk, user: SignedInUser
) -> None:
    assert_problem(await change(user, WRONG), 403, "wrong_password")
    assert_problem(await change(user, WRONG, WRONG), 403, "wrong_password")
    assert (await user.get("/me")).status_code == 200
    assert (await sign_in(api.http, user.email)).status_code == 200
    assert await list_event_types(desk, user.id) == []


async def test_a_change_cancels_links_that_could_undo_it(api: Api, desk: Desk, user: SignedInUser) -> None:
    for purpose in LinkPurpose:
        await issue_link(desk, user.id, user.email, purpose)
    tokens = {purpose: await latest_token(desk, user.id, purpose) for purpose in LinkPurpose}
    assert (await change(user)).status_code == 204
    left = {link.purpose for link in await list_links(desk, user.id)}
    assert left == set(LinkPurpose) - {LinkPurpose.RESET_PASSWORD, LinkPurpose.CHANGE_EMAIL}
    body = {"token": tokens[LinkPurpose.RESET_PASSWORD], "newPassword": "another-heron-48-lamp"}
    assert_problem(await api.http.post("/auth/password/reset", json=body), 422, "link_expired")
    verified = await verify_email(api.http, tokens[LinkPurpose.CHANGE_EMAIL])
    assert_problem(verified, 422, "link_expired")


async def test_the_current_password_is_refused_as_the_new_one_in_any_normal_form(desk: Desk) -> None:
    user = await create_user(desk, password="Zoë-heron-47-lamp")
    for same in ("Zoë-heron-47-lamp", "Zoe\u0308-heron-47-lamp"):
        assert read_invalid_fields(await change(user, "Zoë-heron-47-lamp", same), "same_password") == {"newPassword"}


@pytest.mark.parametrize("weak", ["password", "lovelace1", "aaaaaaaaaaaa"])
async def test_a_weak_password_is_refused(api: Api, user: SignedInUser, weak: str) -> None:
    assert read_invalid_fields(await change(user, new=weak), "weak_password") == {"newPassword"}
    assert (await sign_in(api.http, user.email)).status_code == 200


async def test_a_user_without_a_password_is_told_how_to_set_one(desk: Desk, user: SignedInUser) -> None:
    await remove_password(desk, user.id)
    assert "/auth/password/forgot" in assert_problem(await change(user), 409, "no_password")["detail"]


async def test_one_of_several_concurrent_changes_succeeds(api: Api, desk: Desk, user: SignedInUser) -> None:
    passwords = [f"another-heron-{n}-lamp" for n in range(3)]
    answers = await asyncio.gather(*(change(user, new=new) for new in passwords))
    assert sorted(answer.status_code for answer in answers) == [204, 403, 403]
    for answer, new in zip(answers, passwords, strict=True):
        expected = 200 if answer.status_code == 204 else 401
        assert (await sign_in(api.http, user.email, new)).status_code == expected
    assert await list_event_types(desk, user.id) == ["user.password_changed"]


async def test_other_fields_are_refused(user: SignedInUser) -> None:
    for field in ("role", "status", "orgId", "userId", "email"):
        assert read_invalid_fields(await change(user, **{field: "ADMIN"})) == {field}
    assert read_invalid_fields(await change(user, "", "short")) == {"currentPassword", "newPassword"}


async def test_an_access_token_is_required(api: Api, desk: Desk) -> None:
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    assert_problem(await api.http.post("/auth/password/change", json=body), 401, "missing_credential")
    secret = {"X-Org-Secret": desk.secret}
    assert_problem(
        await api.http.post("/auth/password/change", json=body, headers=secret), 403, "access_token_required"
    )


async def test_an_account_with_the_same_email_in_another_organisation_is_unchanged(
    api: Api, database: Database, desk: Desk
) -> None:
    email, other = unique_email(), await create_desk(api, database)
    user, namesake = await create_user(desk, email), await create_user(other, email)
    before = (await read_credential(other, namesake.id)).password_hash
    assert (await change(user)).status_code == 204
    assert (await read_credential(other, namesake.id)).password_hash == before
    assert (await namesake.get("/me")).status_code == 200


class TestLimits:
    async def user_at_service(self, start: Start, user: SignedInUser, **settings: str) -> SignedInUser:
        http = (await start(**settings)).at("203.0.113.66")
        return SignedInUser(user.id, user.email, http, user.headers, user.session_id)

    async def test_wrong_passwords_are_limited(self, start: Start, user: SignedInUser) -> None:
        attacker = await self.user_at_service(start, user, sign_in_failure_limit="2/5 minutes")
        assert [(await change(attacker, WRONG)).status_code for _ in range(2)] == [403, 403]
        assert_problem(await change(attacker), 429, "rate_limited")
        body = {"email": unique_email(), "password": WRONG}
        assert_problem(await attacker.post("/auth/email/change", body), 429, "rate_limited")
        assert (await attacker.get("/me")).status_code == 200

    async def test_concurrent_wrong_passwords_are_limited(self, start: Start, user: SignedInUser) -> None:
        attacker = await self.user_at_service(start, user, sign_in_failure_limit="2/5 minutes")
        answers = await asyncio.gather(*(change(attacker, WRONG) for _ in range(6)))
        assert sorted(answer.status_code for answer in answers) == [403] * 2 + [429] * 4

    async def test_an_account_under_attack_allows_three_attempts_per_address(
        self, start: Start, user: SignedInUser
    ) -> None:
        service = await start(account_failure_limit="2/hour", sign_in_failure_limit="4/5 minutes")

        async def guess(address: str) -> int:
            attacker = SignedInUser(user.id, user.email, service.at(address), user.headers, user.session_id)
            return (await change(attacker, WRONG)).status_code

        assert [await guess(f"203.0.113.{n}") for n in range(2)] == [403, 403]
        assert [await guess("203.0.113.66") for _ in range(4)] == [403, 403, 403, 429]

    async def test_right_passwords_are_not_counted(self, start: Start, user: SignedInUser) -> None:
        user_elsewhere = await self.user_at_service(start, user, sign_in_failure_limit="1/5 minutes")
        for _ in range(2):
            assert_problem(await change(user_elsewhere, new="password"), 422, "weak_password")
        assert (await change(user_elsewhere)).status_code == 204
        assert (await change(user_elsewhere, NEW_PASSWORD, PASSWORD)).status_code == 204


async def test_a_user_suspended_meanwhile_cannot_change_the_password(api: Api, database: Database) -> None:
    desk = await create_desk(api, database, sandbox=False)
    user = await create_user(desk)
    before = (await read_credential(desk, user.id)).password_hash
    assert (await user.get("/me")).status_code == 200  # from here on the user is cached
    await update_user(desk, user.id, status="SUSPENDED")
    assert_problem(await change(user), 401, "invalid_token")
    assert (await read_credential(desk, user.id)).password_hash == before
