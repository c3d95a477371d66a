"""Requesting a link that resets a password."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from app import wiring
from app.access.attempt_limits import ACCOUNT_MAIL_LIMIT
from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.rules import AccountStatus
from app.authentication.link_mails import MAX_ACCOUNTS, RESPONSE_TIME_STEP
from app.core.database.base import Base
from app.core.database.pool import Database
from app.core.outbox import relay
from app.core.security.opaque_tokens import LINK_PREFIX
from app.organisations.models import Organisation
from tests.authentication.account_state import (
    NEW_PASSWORD,
    latest_token,
    list_event_types,
    list_links,
    read_user,
    remove_password,
    sign_in,
    update_user,
)
from tests.authentication.passwords.resets import is_expired, reset
from tests.organisation_client import JSON, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start, create_user, unique_email

MAILS = int(ACCOUNT_MAIL_LIMIT.partition("/")[0])


async def forgot(http: httpx.AsyncClient, email: str, **more: object) -> httpx.Response:
    return await http.post("/auth/password/forgot", json={"email": email, **more})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


class TestRequest:
    async def test_a_link_valid_for_half_an_hour_is_mailed(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        answer = await forgot(api.http, user.email.upper())
        assert answer.status_code == 202
        assert answer.json() == {"message": "If there is such an account, a mail is on its way."}
        [link] = await list_links(desk, user.id)
        assert (link.purpose, link.email, link.password_hash) == ("RESET_PASSWORD", user.email, None)
        assert (link.expires_at - link.created_at).total_seconds() == 1800
        assert await list_event_types(desk, user.id) == ["user.link_requested"]

    async def test_a_request_changes_nothing_else(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        await forgot(api.http, user.email)
        assert (await sign_in(api.http, user.email)).status_code == 200
        assert (await user.get("/me")).status_code == 200
        assert (await read_user(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("status", [status for status in AccountStatus if status != AccountStatus.ACTIVE])
    async def test_an_inactive_user_gets_no_link(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus
    ) -> None:
        await update_user(desk, user.id, status=status)
        assert (await forgot(api.http, user.email)).status_code == 202
        assert await list_links(desk, user.id) == []
        assert await list_event_types(desk, user.id) == []

    async def test_a_user_of_a_suspended_organisation_gets_no_link(
        self, api: Api, desk: Desk, user: SignedInUser
    ) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        assert (await forgot(api.http, user.email)).status_code == 202
        assert await list_links(desk, user.id) == []

    async def test_a_user_without_a_password_gets_a_link_to_set_one(
        self, api: Api, desk: Desk, user: SignedInUser
    ) -> None:
        await remove_password(desk, user.id)
        await forgot(api.http, user.email)
        assert (await reset(api.http, await latest_token(desk, user.id, LinkPurpose.RESET_PASSWORD))).status_code == 204
        assert (await sign_in(api.http, user.email, NEW_PASSWORD)).status_code == 200

    async def test_every_account_of_the_email_gets_a_link_unless_an_organisation_is_named(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        await forgot(api.http, user.email)
        assert [len(await list_links(desk, user.id)), len(await list_links(other, same.id))] == [1, 1]
        await forgot(api.http, user.email, org=other.domain.upper())
        assert [len(await list_links(desk, user.id)), len(await list_links(other, same.id))] == [1, 2]

    async def test_only_the_accounts_in_the_oldest_organisations_get_a_link(self, api: Api, database: Database) -> None:
        email, counts = unique_email(), list[int]()
        desks = [await create_desk(api, database) for _ in range(MAX_ACCOUNTS + 1)]
        users = [(desk, await create_user(desk, email)) for desk in sorted(desks, key=lambda desk: desk.id)]
        started_at = time.monotonic()
        await forgot(api.http, email)
        assert time.monotonic() - started_at >= RESPONSE_TIME_STEP
        counts = [len(await list_links(desk, user.id)) for desk, user in users]
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
    async def test_an_invalid_field_is_reported(self, api: Api, fields: JSON, wrong: str) -> None:
        body = {"email": unique_email()} | fields
        for path in ("/auth/password/forgot", "/auth/email/resend"):
            assert read_invalid_fields(await api.http.post(path, json=body)) == {wrong}


class TestPrivacy:
    @pytest.mark.parametrize("path", ["/auth/password/forgot", "/auth/email/resend"])
    async def test_every_email_gets_the_same_response_after_the_same_time(
        self, api: Api, desk: Desk, user: SignedInUser, path: str
    ) -> None:
        suspended, verified = await create_user(desk), await create_user(desk)
        await update_user(desk, suspended.id, status="SUSPENDED")
        await update_user(desk, verified.id, email_verified_at=(await read_user(desk, verified.id)).created_at)
        answers, fastest = [], dict[str, float]()
        bodies: list[JSON] = [{"email": one.email} for one in (user, suspended, verified)]
        bodies += [{"email": unique_email()}, {"email": user.email, "org": f"d{uuid4().hex}.test"}]
        for body in bodies * 2:
            started_at = time.monotonic()
            answers.append(await api.http.post(path, json=body))
            elapsed = time.monotonic() - started_at
            assert elapsed >= RESPONSE_TIME_STEP
            fastest[repr(body)] = min(elapsed, fastest.get(repr(body), elapsed))
        for answer in answers:
            answer.headers.pop("x-request-id")
            answer.headers.pop("ratelimit")  # counts all requests of the address
            assert (answer.status_code, answer.content, answer.headers) == (
                202,
                answers[0].content,
                answers[0].headers,
            )
        # Less than the transaction of one account takes, and less than a further step.
        assert max(fastest.values()) - min(fastest.values()) < RESPONSE_TIME_STEP / 2

    async def test_mails_to_an_address_are_limited_without_a_visible_difference(self, start: Start, desk: Desk) -> None:
        service, known = await start(), await create_user(desk)
        for email in (known.email, unique_email()):
            calls = [forgot(service.at(f"198.51.100.{n}"), email) for n in range(MAILS + 3)]
            answers = await asyncio.gather(*calls)
            assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
        assert len(await list_links(desk, known.id, LinkPurpose.RESET_PASSWORD)) == MAILS

    async def test_requests_in_one_organisation_do_not_use_up_the_limit_of_another(
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
        assert len(await list_links(desk, user.id)) == 2

    async def test_each_kind_of_mail_and_the_sign_in_have_separate_limits(
        self, start: Start, user: SignedInUser
    ) -> None:
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
    async def test_requests_are_limited_per_address(self, start: Start, path: str, body: JSON) -> None:
        service = await start(sign_in_limit="1/hour")
        http = service.at("203.0.113.66")
        assert (await http.post(path, json=body)).status_code in {202, 422}
        assert_problem(await http.post(path, json=body), 429, "rate_limited")
        assert (await service.at("198.51.100.7").post(path, json=body)).status_code in {202, 422}

    async def test_tokens_are_neither_logged_nor_stored(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        with capture_logs() as lines:
            await forgot(api.http, user.email)
            token = await latest_token(desk, user.id, LinkPurpose.RESET_PASSWORD)
            await relay.relay_new_events(desk.database, wiring.SUBSCRIBERS)
            stored = await dump_rows(desk)
            assert_problem(await reset(api.http, token, "password"), 422, "weak_password")
            assert (await reset(api.http, token)).status_code == 204
            assert await is_expired(api, token)
        assert user.email in stored
        assert {line.get("route") for line in lines} >= {"/auth/password/forgot", "/auth/password/reset"}
        for text in (stored, repr(lines), await dump_rows(desk)):
            assert token.removeprefix(LINK_PREFIX) not in text
            assert LINK_PREFIX not in text
            assert NEW_PASSWORD not in text


async def dump_rows(desk: Desk) -> str:
    """Return all rows of the organisation as text."""
    rows: list[Any] = []
    async with desk.database.session(desk.id) as db:
        for table in Base.metadata.sorted_tables:
            if "org_id" in table.columns:
                rows += (await db.execute(select(table).where(table.c.org_id == desk.id))).all()
    return repr(rows)
