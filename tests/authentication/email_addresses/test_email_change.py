"""Changing an e-mail with the password and a link mailed to the new address."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.access.attempt_limits import ACCOUNT_MAIL_LIMIT
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.models import UserWord
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security.password_hashing import derive_salt, hash_password
from app.core.words import MAX_WORD_LENGTH
from tests.authentication.account_state import (
    NEW_PASSWORD,
    expire_links,
    issue_link,
    latest_token,
    list_event_types,
    list_links,
    read_credential,
    read_user,
    remove_password,
    sign_in,
    update_user,
    verify_email,
)
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"


async def request_change(
    user: SignedInUser, email: str, password: str | None = PASSWORD, **more: object
) -> httpx.Response:
    given = {} if password is None else {"password": password}
    return await user.post("/auth/email/change", {"email": email, **given, **more})


async def follow_link(api: Api, desk: Desk, user: SignedInUser) -> httpx.Response:
    return await verify_email(api.http, await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL))


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
def new_email() -> str:
    return unique_email()


async def test_nothing_changes_until_the_link_is_followed(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    answer = await request_change(user, new_email.upper())
    assert answer.status_code == 202
    assert answer.json() == {"message": "Follow the link in the mail to the new address: until then, nothing changes."}
    [link] = await list_links(desk, user.id)
    assert (link.purpose, link.email) == ("CHANGE_EMAIL", new_email)
    assert (await user.get("/me")).json()["email"] == user.email
    assert (await sign_in(api.http, user.email)).status_code == 200
    assert_problem(await sign_in(api.http, new_email), 401, "wrong_email_or_password")
    assert await list_event_types(desk, user.id) == ["user.link_requested"]


async def test_the_link_changes_the_email_and_keeps_the_password(api: Api, database: Database, new_email: str) -> None:
    desk = await create_desk(api, database, sandbox=False)  # its users are cached
    user = await create_user(desk)
    await request_change(user, new_email)
    token = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)
    answer = await follow_link(api, desk, user)
    assert (answer.status_code, answer.json()) == (200, {"email": new_email, "verified": True})
    me = (await user.get("/me")).json()
    assert (me["email"], me["emailVerified"]) == (new_email, True), "the session continues"
    assert (await sign_in(api.http, new_email)).status_code == 200
    assert_problem(await sign_in(api.http, user.email), 401, "wrong_email_or_password")
    assert_problem(await verify_email(api.http, token), 422, "link_expired")


async def test_the_password_hash_has_the_salt_of_the_new_email(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    await request_change(user, new_email)
    await follow_link(api, desk, user)
    moved = (await read_credential(desk, user.id)).password_hash
    # As after a sign-up: all accounts of an address share a salt, so a sign-in hashes the password once.
    assert moved == await hash_password(PASSWORD, derive_salt(SECRET_KEY, new_email))


async def test_events_contain_no_addresses(api: Api, desk: Desk, user: SignedInUser, new_email: str) -> None:
    await request_change(user, new_email)
    await follow_link(api, desk, user)
    assert await list_event_types(desk, user.id) == [
        "user.link_requested",
        "user.email_changed",
        "user.email_verified",
    ]
    async with desk.database.session(desk.id) as db:
        stored = (await db.scalars(select(EventRow.data).where(EventRow.org_id == desk.id))).all()
    assert "@" not in repr(stored)


async def test_the_user_is_found_by_the_new_email_only(api: Api, desk: Desk, user: SignedInUser) -> None:
    async def words() -> set[str]:
        async with desk.database.session(desk.id) as db:
            conditions = (UserWord.org_id == desk.id, UserWord.user_id == user.id)
            return set(await db.scalars(select(UserWord.word).where(*conditions)))

    old_word = user.email.partition("@")[0][:MAX_WORD_LENGTH]
    await request_change(user, f"countess@{desk.domain}")
    assert old_word in await words()
    assert "countess" not in await words()
    await follow_link(api, desk, user)
    assert "countess" in await words()
    assert old_word not in await words()


async def test_links_mailed_to_the_old_address_are_cancelled(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
    await issue_link(desk, user.id, user.email, LinkPurpose.VERIFY_EMAIL)
    await request_change(user, new_email)
    assert len(await list_links(desk, user.id)) == 3
    assert (await follow_link(api, desk, user)).status_code == 200
    assert await list_links(desk, user.id) == []


async def test_another_request_cancels_the_link_to_a_mistyped_address(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    await request_change(user, unique_email())
    mistyped = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)
    await request_change(user, new_email)

    assert_problem(await verify_email(api.http, mistyped), 422, "link_expired")
    assert (await follow_link(api, desk, user)).status_code == 200
    assert (await user.get("/me")).json()["email"] == new_email


class TestPassword:
    async def test_a_wrong_password_is_refused_and_ends_no_session(
        self, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        assert_problem(await request_change(user, new_email, WRONG), 403, "wrong_password")
        assert (await user.get("/me")).status_code == 200
        assert await list_links(desk, user.id) == []

    async def test_a_missing_password_is_named(self, desk: Desk, user: SignedInUser, new_email: str) -> None:
        assert read_invalid_fields(await request_change(user, new_email, None)) == {"password"}
        assert await list_links(desk, user.id) == []

    async def test_a_user_without_a_password_needs_none(
        self, api: Api, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        await remove_password(desk, user.id)
        assert (await request_change(user, new_email, None)).status_code == 202
        assert (await follow_link(api, desk, user)).status_code == 200
        credential = await read_credential(desk, user.id)
        assert (credential.email, credential.password_hash) == (new_email, None)

    async def test_a_changed_password_cancels_the_change_of_email(
        self, api: Api, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        await request_change(user, new_email)
        token = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert (await user.post("/auth/password/change", body)).status_code == 204
        assert_problem(await verify_email(api.http, token), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_a_reset_password_cancels_the_change_of_email(
        self, api: Api, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        await request_change(user, new_email)
        token = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        reset = await issue_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        body = {"token": reset, "newPassword": NEW_PASSWORD}
        assert (await api.http.post("/auth/password/reset", json=body)).status_code == 204
        assert_problem(await verify_email(api.http, token), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_a_concurrent_change_of_the_password_cancels_the_change_of_email(
        self, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        changed, asked = await asyncio.gather(user.post("/auth/password/change", body), request_change(user, new_email))
        assert changed.status_code == 204
        assert asked.status_code in {202, 403}
        assert await list_links(desk, user.id, LinkPurpose.CHANGE_EMAIL) == [], (
            "the link would restore the old password"
        )


class TestTakenAddress:
    async def test_the_owner_is_notified_and_the_response_is_the_same(
        self, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        other = await create_user(desk)
        free, taken = await request_change(user, new_email), await request_change(user, other.email)
        for answer in (free, taken):
            answer.headers.pop("x-request-id")
            assert answer.headers.pop("ratelimit").startswith('"mail";r=4;')
        assert (taken.status_code, taken.content, taken.headers) == (202, free.content, free.headers)
        assert await list_links(desk, user.id) == [], "the earlier request is replaced, as for a free address"
        assert await list_event_types(desk, other.id) == ["user.email_claimed"]

    async def test_the_address_of_a_user_in_another_organisation_is_free(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_user(await create_desk(api, database))
        await request_change(user, other.email)
        assert (await follow_link(api, desk, user)).status_code == 200
        assert (await other.get("/me")).json()["email"] == other.email

    async def test_an_address_taken_before_the_link_is_followed_is_refused(
        self, api: Api, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        await request_change(user, new_email)
        await create_user(desk, new_email)
        assert_problem(await follow_link(api, desk, user), 422, "link_expired")
        assert (await read_user(desk, user.id)).email == user.email
        assert (await sign_in(api.http, user.email)).status_code == 200

    async def test_one_of_two_users_who_request_an_address_at_once_gets_it(
        self, api: Api, desk: Desk, user: SignedInUser, new_email: str
    ) -> None:
        other = await create_user(desk)
        await asyncio.gather(request_change(user, new_email), request_change(other, new_email))
        answers = await asyncio.gather(follow_link(api, desk, user), follow_link(api, desk, other))
        assert sorted(answer.status_code for answer in answers) == [200, 422]
        emails = {(await read_user(desk, one.id)).email for one in (user, other)}
        assert len(emails) == 2
        assert new_email in emails


async def test_the_current_email_is_refused(desk: Desk, user: SignedInUser) -> None:
    assert read_invalid_fields(await request_change(user, user.email.upper()), "same_email") == {"email"}
    assert await list_links(desk, user.id) == []


async def test_an_expired_link_changes_nothing(api: Api, desk: Desk, user: SignedInUser, new_email: str) -> None:
    await request_change(user, new_email)
    await expire_links(desk, user.id)
    assert_problem(await follow_link(api, desk, user), 422, "link_expired")
    assert (await read_user(desk, user.id)).email == user.email


async def test_a_link_of_a_user_suspended_meanwhile_changes_nothing(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    await request_change(user, new_email)
    await update_user(desk, user.id, status="SUSPENDED")
    assert_problem(await follow_link(api, desk, user), 422, "link_expired")
    assert (await read_user(desk, user.id)).email == user.email


async def test_mails_to_a_new_address_are_limited(start: Start, desk: Desk, new_email: str) -> None:
    service, mails = await start(), int(ACCOUNT_MAIL_LIMIT.partition("/")[0])
    user = await create_user(desk)
    attacker = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    assert [(await request_change(attacker, new_email)).status_code for _ in range(mails + 1)] == [202] * mails + [429]
    assert (await request_change(attacker, unique_email())).status_code == 202


async def test_other_fields_are_refused(user: SignedInUser, new_email: str) -> None:
    for field in ("role", "status", "orgId", "userId", "emailVerified"):
        assert read_invalid_fields(await request_change(user, new_email, **{field: "ADMIN"})) == {field}
    assert read_invalid_fields(await request_change(user, "ada")) == {"email"}


async def test_an_access_token_is_required(api: Api, desk: Desk, new_email: str) -> None:
    body: Any = {"email": new_email, "password": PASSWORD}
    assert_problem(await api.http.post("/auth/email/change", json=body), 401, "missing_credential")
    secret = {"X-Org-Secret": desk.secret}
    assert_problem(await api.http.post("/auth/email/change", json=body, headers=secret), 403, "access_token_required")


async def test_addresses_tokens_and_passwords_are_not_logged(
    api: Api, desk: Desk, user: SignedInUser, new_email: str
) -> None:
    with capture_logs() as lines:
        await request_change(user, new_email)
        token = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        await follow_link(api, desk, user)
    assert {line.get("route") for line in lines} >= {"/auth/email/change", "/auth/email/verify"}
    for text in (token, new_email, PASSWORD):
        assert text not in repr(lines)
