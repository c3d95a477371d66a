"""A password that was forgotten is reset by a link in a mail."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from app import wiring
from app.access.attempts import MAIL_LIMIT
from app.accounts.single_use_links.models import Link, LinkPurpose
from app.accounts.users.models import Credential
from app.accounts.users.rules import AccountStatus
from app.authentication.link_mails import MAX_ACCOUNTS, RESPONSE_TIME_STEP
from app.core.database.base import Base
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.security.opaque_tokens import LINK_PREFIX, link_token
from app.organisations.models import Organisation
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
    token_of,
)
from tests.conftest import SECRET_KEY
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields
from tests.services import Start, create_user, unique_email

MAILS = int(MAIL_LIMIT.partition("/")[0])


async def forgot(http: httpx.AsyncClient, email: str, **more: object) -> httpx.Response:
    return await http.post("/auth/password/forgot", json={"email": email, **more})


async def reset(http: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD) -> httpx.Response:
    return await http.post("/auth/password/reset", json={"token": token, "newPassword": password})


async def is_expired(api: Api, token: str) -> bool:
    return wrong_fields(await reset(api.http, token), "link_expired") == {"token"}


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
async def token(desk: Desk, user: SignedInUser) -> str:
    return await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)


class TestForgotten:
    async def test_a_link_of_half_an_hour_is_mailed(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        answer = await forgot(api.http, user.email.upper())
        assert answer.status_code == 202
        assert answer.json() == {"message": "If there is such an account, a mail is on its way."}
        [link] = await links_of(desk, user.id)
        assert (link.purpose, link.email, link.password_hash) == ("RESET_PASSWORD", user.email, None)
        assert (link.expires_at - link.created_at).total_seconds() == 1800
        assert await events_about(desk, user.id) == ["user.link_requested"]

    async def test_nothing_else_happens_by_that(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        await forgot(api.http, user.email)
        assert (await sign_in(api.http, user.email)).status_code == 200
        assert (await user.get("/me")).status_code == 200
        assert (await row_of(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ACTIVE])
    async def test_who_is_not_active_gets_none(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus
    ) -> None:
        await change_row(desk, user.id, status=status)
        assert (await forgot(api.http, user.email)).status_code == 202
        assert await links_of(desk, user.id) == []
        assert await events_about(desk, user.id) == []

    async def test_nor_does_anybody_of_a_suspended_organisation(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        assert (await forgot(api.http, user.email)).status_code == 202
        assert await links_of(desk, user.id) == []

    async def test_who_signs_in_elsewhere_gets_one(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        await take_password(desk, user.id)
        await forgot(api.http, user.email)
        assert (await reset(api.http, await token_for(desk, user.id, LinkPurpose.RESET_PASSWORD))).status_code == 204
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_every_account_of_the_email_gets_one_or_that_of_the_organisation_named(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        await forgot(api.http, user.email)
        assert [len(await links_of(desk, user.id)), len(await links_of(other, same.id))] == [1, 1]
        await forgot(api.http, user.email, org=other.domain.upper())
        assert [len(await links_of(desk, user.id)), len(await links_of(other, same.id))] == [1, 2]

    async def test_of_very_many_the_oldest_do(self, api: Api, database: Database) -> None:
        email, counts = unique_email(), list[int]()
        desks = [await create_desk(api, database) for _ in range(MAX_ACCOUNTS + 1)]
        users = [(desk, await create_user(desk, email)) for desk in sorted(desks, key=lambda desk: desk.id)]
        began = time.monotonic()
        await forgot(api.http, email)
        assert time.monotonic() - began >= RESPONSE_TIME_STEP
        counts = [len(await links_of(desk, user.id)) for desk, user in users]
        assert counts == [1] * MAX_ACCOUNTS + [0]

    @pytest.mark.parametrize(
        ("fields", "wrong"),
        [
            ({"email": "ada"}, "email"),
            ({"email": None}, "email"),
            ({"email": "ada\0@growfin.test"}, "email"),
            ({"org": "no domain"}, "org"),
            ({"status": "ACTIVE"}, "status"),
            ({"orgId": str(uuid4())}, "orgId"),
        ],
    )
    async def test_a_wrong_field_is_named(self, api: Api, fields: JSON, wrong: str) -> None:
        body = {"email": unique_email()} | fields
        for path in ("/auth/password/forgot", "/auth/email/resend"):
            assert wrong_fields(await api.http.post(path, json=body)) == {wrong}


class TestNothingIsRevealed:
    @pytest.mark.parametrize("path", ["/auth/password/forgot", "/auth/email/resend"])
    async def test_every_email_has_the_same_answer_after_the_same_time(
        self, api: Api, desk: Desk, user: SignedInUser, path: str
    ) -> None:
        suspended, proved = await create_user(desk), await create_user(desk)
        await change_row(desk, suspended.id, status="SUSPENDED")
        await change_row(desk, proved.id, email_verified_at=(await row_of(desk, proved.id)).created_at)
        answers, quickest = [], dict[str, float]()
        bodies: list[JSON] = [{"email": one.email} for one in (user, suspended, proved)]
        bodies += [{"email": unique_email()}, {"email": user.email, "org": f"d{uuid4().hex}.test"}]
        for body in bodies * 2:
            began = time.monotonic()
            answers.append(await api.http.post(path, json=body))
            took = time.monotonic() - began
            assert took >= RESPONSE_TIME_STEP
            quickest[repr(body)] = min(took, quickest.get(repr(body), took))
        for answer in answers:
            answer.headers.pop("x-request-id")
            assert (answer.status_code, answer.content, answer.headers) == (
                202,
                answers[0].content,
                answers[0].headers,
            )
        # Less than what one account's transaction takes, and no whole step more.
        assert max(quickest.values()) - min(quickest.values()) < RESPONSE_TIME_STEP / 2

    async def test_an_email_is_written_to_so_often_and_no_answer_tells(self, start: Start, desk: Desk) -> None:
        service, known = await start(), await create_user(desk)
        for email in (known.email, unique_email()):
            calls = [forgot(service.at(f"198.51.100.{n}"), email) for n in range(MAILS + 3)]
            answers = await asyncio.gather(*calls)
            assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
        assert len(await links_of(desk, known.id, LinkPurpose.RESET_PASSWORD)) == MAILS

    async def test_to_ask_for_it_elsewhere_uses_nobodys_mails_up(
        self, start: Start, desk: Desk, api: Api, database: Database
    ) -> None:
        service, user, elsewhere = await start(), await create_user(desk), await create_desk(api, database)
        for place in range(MAILS + 1):
            for domain in ("nosuch.test", elsewhere.domain):
                http = service.at(f"198.51.100.{place}")
                for path in ("/auth/password/forgot", "/auth/email/resend"):
                    body = {"email": user.email, "org": domain}
                    assert (await http.post(path, json=body)).status_code == 202

        body = {"email": user.email, "org": desk.domain}
        for path in ("/auth/password/forgot", "/auth/email/resend"):
            assert (await service.at("203.0.113.5").post(path, json=body)).status_code == 202
        assert len(await links_of(desk, user.id)) == 2

    async def test_other_mails_and_the_way_back_in_are_limited_apart(self, start: Start, user: SignedInUser) -> None:
        http = (await start()).at("198.51.100.7")
        await asyncio.gather(*(forgot(http, user.email) for _ in range(MAILS)))
        assert (await http.post("/auth/email/resend", json={"email": user.email})).status_code == 202
        assert (await sign_in(http, user.email)).status_code == 200

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/auth/password/forgot", {"email": "x@growfin.test"}),
            ("/auth/password/reset", {"token": "tlt_x", "newPassword": NEW_PASSWORD}),
            ("/auth/email/verify", {"token": "tlt_x"}),
            ("/auth/email/resend", {"email": "x@growfin.test"}),
        ],
    )
    async def test_an_address_may_try_only_so_often(self, start: Start, path: str, body: JSON) -> None:
        service = await start(sign_in_limit="1/minute")
        http = service.at("203.0.113.66")
        assert (await http.post(path, json=body)).status_code in {202, 422}
        refused(await http.post(path, json=body), 429, "rate_limited")
        assert (await service.at("198.51.100.7").post(path, json=body)).status_code in {202, 422}

    async def test_no_token_is_logged_or_in_the_database(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        with capture_logs() as lines:
            await forgot(api.http, user.email)
            token = await token_for(desk, user.id, LinkPurpose.RESET_PASSWORD)
            await relay.relay_new(desk.database, wiring.SUBSCRIBERS)
            stored = await everything_of(desk)
            refused(await reset(api.http, token, "password"), 422, "weak_password")
            assert (await reset(api.http, token)).status_code == 204
            assert await is_expired(api, token)
        assert user.email in stored
        assert {line.get("route") for line in lines} >= {"/auth/password/forgot", "/auth/password/reset"}
        for text in (stored, repr(lines), await everything_of(desk)):
            assert token.removeprefix(LINK_PREFIX) not in text
            assert LINK_PREFIX not in text
            assert NEW_PASSWORD not in text


async def everything_of(desk: Desk) -> str:
    """Every row that the organisation has, as text."""
    rows: list[Any] = []
    async with desk.database.session(desk.id) as db:
        for table in Base.metadata.sorted_tables:
            if "org_id" in table.columns:
                rows += (await db.execute(select(table).where(table.c.org_id == desk.id))).all()
    return repr(rows)


class TestReset:
    async def test_the_new_password_is_the_only_one(self, api: Api, user: SignedInUser, token: str) -> None:
        answer = await reset(api.http, token)
        assert (answer.status_code, answer.content) == (204, b""), "and it signs nobody in"
        assert "set-cookie" not in answer.headers
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200
        refused(await sign_in(api.http, user.email), 401, "wrong_email_or_password")

    async def test_it_proves_the_email(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await reset(api.http, token)
        proved_at = (await row_of(desk, user.id)).email_verified_at
        assert proved_at is not None
        assert await events_about(desk, user.id) == ["user.email_verified", "user.password_changed"]
        await reset(api.http, await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD), "another-heron-48")
        assert (await row_of(desk, user.id)).email_verified_at == proved_at
        assert (await events_about(desk, user.id))[2:] == ["user.password_changed"]

    async def test_every_session_ends_at_once(self, api: Api, database: Database) -> None:
        desk = await create_desk(api, database, sandbox=False)  # whose users are remembered
        user = await create_user(desk)
        signed_in = (await sign_in(api.http, user.email)).json()
        bearer = {"Authorization": f"Bearer {signed_in['jwt']}"}
        assert (await api.http.get("/me", headers=bearer)).status_code == 200
        assert (await user.get("/me")).status_code == 200

        token = await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        assert (await reset(api.http, token)).status_code == 204

        refused(await api.http.get("/me", headers=bearer), 401, "invalid_token")
        refused(await user.get("/me"), 401, "invalid_token")
        refreshed = await api.http.post("/auth/refresh", json={"refreshToken": signed_in["refreshToken"]})
        refused(refreshed, 401, "invalid_refresh_token")
        assert (await desk.admin.get("/me")).status_code == 200, "nobody else's do"

    async def test_a_second_factor_is_still_asked_for(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await change_row(desk, user.id, second_factor=True)
        assert (await reset(api.http, token)).status_code == 204
        refused(await sign_in(api.http, user.email, NEW_PASSWORD), 401, "totp_required")

    async def test_only_the_account_of_the_link_is_changed(
        self, api: Api, database: Database, user: SignedInUser, token: str
    ) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        before = (await credential_of(other, same.id)).password_hash
        assert (await reset(api.http, token)).status_code == 204
        assert (await credential_of(other, same.id)).password_hash == before
        assert (await same.get("/me")).status_code == 200

    @pytest.mark.parametrize("weak", ["password", "growfin-1", "aaaaaaaaaaaa"])
    async def test_a_weak_password_leaves_the_link_usable(
        self, api: Api, user: SignedInUser, token: str, weak: str
    ) -> None:
        assert wrong_fields(await reset(api.http, token, weak), "weak_password") == {"newPassword"}
        assert wrong_fields(await reset(api.http, token, "short")) == {"newPassword"}
        assert (await reset(api.http, token)).status_code == 204
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_roles_and_organisations_cannot_be_slipped_in(self, api: Api, token: str) -> None:
        body = {"token": token, "newPassword": NEW_PASSWORD}
        for field in ("role", "status", "orgId", "email", "userId"):
            assert wrong_fields(await api.http.post("/auth/password/reset", json=body | {field: "ADMIN"})) == {field}


class TestLinksThatLeadNowhere:
    async def test_one_that_was_used(self, api: Api, user: SignedInUser, token: str) -> None:
        assert (await reset(api.http, token)).status_code == 204
        refused(await reset(api.http, token, "another-heron-48-lamp"), 422, "link_expired")
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_of_two_uses_at_the_same_moment_one(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        passwords = [f"another-heron-{n}-lamp" for n in range(4)]
        answers = await asyncio.gather(*(reset(api.http, token, password) for password in passwords))
        assert sorted(answer.status_code for answer in answers) == [204, 422, 422, 422]
        for answer, password in zip(answers, passwords, strict=True):
            assert (await sign_in(api.http, user.email, password)).status_code == (
                200 if answer.status_code == 204 else 401
            )
        assert (await events_about(desk, user.id)).count("user.password_changed") == 1

    async def test_any_others_once_one_was_used(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        later = await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        assert (await reset(api.http, token)).status_code == 204
        assert await is_expired(api, later)

    async def test_one_that_has_expired(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await expire_links(desk, user.id)
        assert await is_expired(api, token)
        assert (await sign_in(api.http, user.email)).status_code == 200

    @pytest.mark.parametrize("purpose", [purpose for purpose in LinkPurpose if purpose != LinkPurpose.RESET_PASSWORD])
    async def test_one_for_something_else(self, api: Api, desk: Desk, user: SignedInUser, purpose: LinkPurpose) -> None:
        assert await is_expired(api, await a_link(desk, user.id, user.email, purpose))
        assert len(await links_of(desk, user.id, purpose)) == 1, "it can still be used for what it is for"

    async def test_one_of_another_organisation(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_desk(api, database)
        await a_link(desk, user.id, user.email, LinkPurpose.RESET_PASSWORD)
        [link] = await links_of(desk, user.id)
        assert await is_expired(api, link_token(SECRET_KEY, other.id, link.id))
        assert (await reset(api.http, token_of(link))).status_code == 204

    async def test_made_up_ones(self, api: Api, desk: Desk, token: str) -> None:
        signed = token.removeprefix(LINK_PREFIX)
        flipped = [
            signed[:at] + ("A" if signed[at] != "A" else "B") + signed[at + 1 :] for at in range(0, len(signed), 7)
        ]
        others = ["", "A", signed[:-4], signed + "AAAA", signed.lower(), "é", "=" * 76, "\ud800"]
        for made_up in [LINK_PREFIX + text for text in flipped + others]:
            body = b'{"token": "' + made_up.encode("ascii", "backslashreplace") + b'", "newPassword": "amber-otter-58"}'
            answer = await api.http.post(
                "/auth/password/reset", content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 422
            assert answer.json()["code"] in {"link_expired", "invalid_input"}
        for made_up in ("trt_" + signed, signed, link_token("x" * 40, desk.id, uuid4()), "x"):
            assert await is_expired(api, made_up)
        assert (await reset(api.http, token)).status_code == 204

    @pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ACTIVE])
    async def test_one_of_somebody_who_is_not_active_any_more(
        self, api: Api, desk: Desk, user: SignedInUser, token: str, status: AccountStatus
    ) -> None:
        await change_row(desk, user.id, status=status)
        assert await is_expired(api, token)

    async def test_one_that_was_sent_to_an_address_that_is_not_theirs_any_more(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await change_row(desk, user.id, email=unique_email())
        assert await is_expired(api, token)

    async def test_one_of_a_suspended_organisation(self, api: Api, desk: Desk, token: str) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        assert await is_expired(api, token)

    async def test_one_of_somebody_who_cannot_sign_in_at_all(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(delete(Credential).where(Credential.org_id == desk.id, Credential.user_id == user.id))
        assert await is_expired(api, token)
        async with desk.database.session(desk.id) as db:
            left = await db.scalar(select(Link.id).where(Link.org_id == desk.id, Link.user_id == user.id))
        assert left is not None, "the refusal rolled its use back"
