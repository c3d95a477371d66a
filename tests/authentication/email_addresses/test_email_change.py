"""Another e-mail takes the password, and a click on a link that was mailed to it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from app.access.attempts import MAIL_LIMIT
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.models import UserWord
from app.core.database.pool import Database
from app.core.outbox.models import EventRow
from app.core.security.passwords import derive_salt, hash_password
from tests.authentication.passwords.recovering import (
    NEW_PASSWORD,
    a_link,
    change_row,
    credential_of,
    events_about,
    expire_links,
    links_of,
    row_of,
    sign_in,
    take_password,
    token_for,
)
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields
from tests.services import Start, create_user, unique_email

WRONG = "cobalt-heron-47-lamq"


async def ask(user: SignedInUser, email: str, password: str | None = PASSWORD, **more: object) -> httpx.Response:
    given = {} if password is None else {"password": password}
    return await user.post("/auth/email/change", {"email": email, **given, **more})


async def click(api: Api, desk: Desk, user: SignedInUser) -> httpx.Response:
    token = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
    return await api.http.post("/auth/email/verify", json={"token": token})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
def new() -> str:
    return unique_email()


async def test_nothing_changes_until_the_click(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    answer = await ask(user, new.upper())
    assert answer.status_code == 202
    assert answer.json() == {"message": "Follow the link in the mail to the new address: until then, nothing changes."}
    [link] = await links_of(desk, user.id)
    assert (link.purpose, link.email) == ("CHANGE_EMAIL", new)
    assert (await user.get("/me")).json()["email"] == user.email
    assert (await sign_in(api.http, user.email)).status_code == 200
    refused(await sign_in(api.http, new), 401, "wrong_email_or_password")
    assert await events_about(desk, user.id) == ["user.link_requested"]


async def test_after_it_the_new_one_is_theirs_with_the_same_password(api: Api, database: Database, new: str) -> None:
    desk = await create_desk(api, database, sandbox=False)  # whose users are remembered
    user = await create_user(desk)
    await ask(user, new)
    token = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
    answer = await click(api, desk, user)
    assert (answer.status_code, answer.json()) == (200, {"email": new, "verified": True})
    me = (await user.get("/me")).json()
    assert (me["email"], me["emailVerified"]) == (new, True), "and they stay signed in"
    assert (await sign_in(api.http, new)).status_code == 200
    refused(await sign_in(api.http, user.email), 401, "wrong_email_or_password")
    refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")


async def test_the_hash_has_the_salt_of_its_email(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    await ask(user, new)
    await click(api, desk, user)
    moved = (await credential_of(desk, user.id)).password_hash
    # As if they had signed up with it: one computation still compares all accounts of an e-mail.
    assert moved == await hash_password(PASSWORD, derive_salt(SECRET_KEY, new))


async def test_what_happened_is_told_without_addresses(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    await ask(user, new)
    await click(api, desk, user)
    assert await events_about(desk, user.id) == [
        "user.link_requested",
        "user.email_changed",
        "user.email_verified",
    ]
    async with desk.database.session(desk.id) as db:
        stored = (await db.scalars(select(EventRow.data).where(EventRow.org_id == desk.id))).all()
    assert "@" not in repr(stored)


async def test_they_are_found_by_the_new_one_only(api: Api, desk: Desk, user: SignedInUser) -> None:
    async def words() -> set[str]:
        async with desk.database.session(desk.id) as db:
            which = (UserWord.org_id == desk.id, UserWord.user_id == user.id)
            return set(await db.scalars(select(UserWord.word).where(*which)))

    await ask(user, f"countess@{desk.domain}")
    assert user.email.partition("@")[0] in await words()
    assert "countess" not in await words()
    await click(api, desk, user)
    assert "countess" in await words()
    assert user.email.partition("@")[0] not in await words()


async def test_links_to_the_old_address_lead_nowhere(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
    await a_link(desk, user.id, user.email, LinkPurpose.VERIFY_EMAIL)
    await ask(user, new)
    assert len(await links_of(desk, user.id)) == 3
    assert (await click(api, desk, user)).status_code == 200
    assert await links_of(desk, user.id) == []


async def test_who_mistyped_it_asks_again_and_the_slip_leads_nowhere(
    api: Api, desk: Desk, user: SignedInUser, new: str
) -> None:
    await ask(user, unique_email())
    slip = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
    await ask(user, new)

    refused(await api.http.post("/auth/email/verify", json={"token": slip}), 422, "link_expired")
    assert (await click(api, desk, user)).status_code == 200
    assert (await user.get("/me")).json()["email"] == new


class TestPassword:
    async def test_a_wrong_one_is_refused_and_signs_nobody_out(self, desk: Desk, user: SignedInUser, new: str) -> None:
        for password in (WRONG, None):
            refused(await ask(user, new, password), 403, "wrong_password")
        assert (await user.get("/me")).status_code == 200
        assert await links_of(desk, user.id) == []

    async def test_who_has_none_needs_none(self, api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
        await take_password(desk, user.id)
        assert (await ask(user, new, None)).status_code == 202
        assert (await click(api, desk, user)).status_code == 200
        credential = await credential_of(desk, user.id)
        assert (credential.email, credential.password_hash) == (new, None)

    async def test_a_change_of_it_in_between_stops_the_change_of_email(
        self, api: Api, desk: Desk, user: SignedInUser, new: str
    ) -> None:
        await ask(user, new)
        token = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        assert (await user.post("/auth/password/change", body)).status_code == 204
        refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_and_so_does_a_reset(self, api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
        await ask(user, new)
        token = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        reset = await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        body = {"token": reset, "newPassword": NEW_PASSWORD}
        assert (await api.http.post("/auth/password/reset", json=body)).status_code == 204
        refused(await api.http.post("/auth/email/verify", json={"token": token}), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_or_both_at_the_same_moment(self, desk: Desk, user: SignedInUser, new: str) -> None:
        body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
        changed, asked = await asyncio.gather(user.post("/auth/password/change", body), ask(user, new))
        assert changed.status_code == 204
        assert asked.status_code in {202, 403}
        assert await links_of(desk, user.id, LinkPurpose.CHANGE_EMAIL) == [], "the old hash cannot come back"


class TestTaken:
    async def test_its_owner_is_told_and_the_answer_is_the_same(self, desk: Desk, user: SignedInUser, new: str) -> None:
        other = await create_user(desk)
        free, taken = await ask(user, new), await ask(user, other.email)
        for answer in (free, taken):
            answer.headers.pop("x-request-id")
        assert (taken.status_code, taken.content, taken.headers) == (202, free.content, free.headers)
        assert await links_of(desk, user.id) == [], "what was asked before is replaced, as by a free one"
        assert await events_about(desk, other.id) == ["user.email_claimed"]

    async def test_by_somebody_of_another_organisation_is_not_taken(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_user(await create_desk(api, database))
        await ask(user, other.email)
        assert (await click(api, desk, user)).status_code == 200
        assert (await other.get("/me")).json()["email"] == other.email

    async def test_between_the_question_and_the_click(self, api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
        await ask(user, new)
        await create_user(desk, new)
        refused(await click(api, desk, user), 422, "link_expired")
        assert (await row_of(desk, user.id)).email == user.email
        assert (await sign_in(api.http, user.email)).status_code == 200

    async def test_of_two_who_want_it_at_the_same_moment_one_gets_it(
        self, api: Api, desk: Desk, user: SignedInUser, new: str
    ) -> None:
        other = await create_user(desk)
        await asyncio.gather(ask(user, new), ask(other, new))
        answers = await asyncio.gather(click(api, desk, user), click(api, desk, other))
        assert sorted(answer.status_code for answer in answers) == [200, 422]
        emails = {(await row_of(desk, one.id)).email for one in (user, other)}
        assert len(emails) == 2
        assert new in emails


async def test_the_present_one_again_is_refused(desk: Desk, user: SignedInUser) -> None:
    assert wrong_fields(await ask(user, user.email.upper()), "same_email") == {"email"}
    assert await links_of(desk, user.id) == []


async def test_a_link_that_has_expired_changes_nothing(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    await ask(user, new)
    await expire_links(desk, user.id)
    refused(await click(api, desk, user), 422, "link_expired")
    assert (await row_of(desk, user.id)).email == user.email


async def test_nor_does_one_of_somebody_suspended_meanwhile(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    await ask(user, new)
    await change_row(desk, user.id, status="SUSPENDED")
    refused(await click(api, desk, user), 422, "link_expired")
    assert (await row_of(desk, user.id)).email == user.email


async def test_nobody_gets_more_than_a_few_mails_that_they_did_not_ask_for(start: Start, desk: Desk, new: str) -> None:
    service, mails = await start(), int(MAIL_LIMIT.partition("/")[0])
    user = await create_user(desk)
    there = SignedInUser(user.id, user.email, service.at("203.0.113.66"), user.headers, user.session_id)
    assert [(await ask(there, new)).status_code for _ in range(mails + 1)] == [202] * mails + [429]
    assert (await ask(there, unique_email())).status_code == 202


async def test_what_else_a_body_says_is_refused(user: SignedInUser, new: str) -> None:
    for field in ("role", "status", "orgId", "userId", "emailVerified"):
        assert wrong_fields(await ask(user, new, **{field: "ADMIN"})) == {field}
    assert wrong_fields(await ask(user, "ada")) == {"email"}


async def test_it_takes_a_user(api: Api, desk: Desk, new: str) -> None:
    body: Any = {"email": new, "password": PASSWORD}
    refused(await api.http.post("/auth/email/change", json=body), 401, "missing_credential")
    secret = {"X-Org-Secret": desk.secret}
    refused(await api.http.post("/auth/email/change", json=body, headers=secret), 403, "access_token_required")


async def test_nothing_of_it_is_logged(api: Api, desk: Desk, user: SignedInUser, new: str) -> None:
    with capture_logs() as lines:
        await ask(user, new)
        token = await token_for(desk, user.id, LinkPurpose.CHANGE_EMAIL)
        await click(api, desk, user)
    assert {line.get("route") for line in lines} >= {"/auth/email/change", "/auth/email/verify"}
    for text in (token, new, PASSWORD):
        assert text not in repr(lines)
