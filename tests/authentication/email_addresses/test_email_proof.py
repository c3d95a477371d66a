"""An e-mail is proved by a click on a link that was mailed to it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import update

from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.rules import AccountStatus
from app.core.database.pool import Database
from app.core.security.opaque_tokens import link_token
from app.organisations.models import Organisation
from tests.authentication.passwords.recovering import (
    a_link,
    change_row,
    events_about,
    expire_links,
    links_of,
    row_of,
    token_for,
)
from tests.conftest import SECRET_KEY
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import refused, wrong_fields
from tests.services import create_user


async def verify(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/auth/email/verify", json={"token": token})


async def resend(http: httpx.AsyncClient, email: str, **more: object) -> httpx.Response:
    return await http.post("/auth/email/resend", json={"email": email, **more})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
async def token(desk: Desk, user: SignedInUser) -> str:
    return await a_link(desk, user.id, user.email, LinkPurpose.VERIFY_EMAIL)


class TestClick:
    async def test_it_is_proved_from_then_on(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        assert (await user.get("/me")).json()["emailVerified"] is False
        answer = await verify(api.http, token)
        assert (answer.status_code, answer.json()) == (200, {"email": user.email, "verified": True})
        assert (await user.get("/me")).json()["emailVerified"] is True
        assert await events_about(desk, user.id) == ["user.email_verified"]

    async def test_who_waits_for_approval_can_prove_it_already(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await change_row(desk, user.id, status="PENDING")
        assert (await verify(api.http, token)).status_code == 200
        row = await row_of(desk, user.id)
        assert (row.status, row.email_verified_at is not None) == ("PENDING", True), "which approves nothing"

    async def test_to_prove_it_again_changes_nothing(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        proved_at = (await row_of(desk, user.id)).created_at
        await change_row(desk, user.id, email_verified_at=proved_at)
        assert (await verify(api.http, token)).status_code == 200
        assert (await row_of(desk, user.id)).email_verified_at == proved_at
        assert await events_about(desk, user.id) == []

    async def test_sessions_go_on(self, api: Api, user: SignedInUser, token: str) -> None:
        await verify(api.http, token)
        assert (await user.get("/me")).status_code == 200


class TestLinksThatLeadNowhere:
    async def test_one_that_was_used(self, api: Api, token: str) -> None:
        assert (await verify(api.http, token)).status_code == 200
        assert wrong_fields(await verify(api.http, token), "link_expired") == {"token"}

    async def test_of_two_clicks_at_the_same_moment_one(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        answers = await asyncio.gather(*(verify(api.http, token) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] + [422] * 4
        assert await events_about(desk, user.id) == ["user.email_verified"]

    async def test_one_that_has_expired(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await expire_links(desk, user.id)
        refused(await verify(api.http, token), 422, "link_expired")
        assert (await row_of(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("purpose", [LinkPurpose.RESET_PASSWORD, LinkPurpose.INVITATION, LinkPurpose.SIGN_IN])
    async def test_one_for_something_else(self, api: Api, desk: Desk, user: SignedInUser, purpose: LinkPurpose) -> None:
        refused(await verify(api.http, await a_link(desk, user.id, user.email, purpose)), 422, "link_expired")
        assert len(await links_of(desk, user.id, purpose)) == 1

    async def test_one_of_another_organisation(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        other = await create_desk(api, database)
        [link] = await links_of(desk, user.id)
        refused(await verify(api.http, link_token(SECRET_KEY, other.id, link.id)), 422, "link_expired")
        assert (await verify(api.http, token)).status_code == 200

    async def test_one_that_was_sent_to_another_address(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        token = await a_link(desk, user.id, "before@growfin.test", LinkPurpose.VERIFY_EMAIL)
        refused(await verify(api.http, token), 422, "link_expired")
        assert (await row_of(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("status", sorted(set(AccountStatus) - {AccountStatus.ACTIVE, AccountStatus.PENDING}))
    @pytest.mark.parametrize("purpose", [LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL])
    async def test_one_of_somebody_who_is_out(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus, purpose: LinkPurpose
    ) -> None:
        token = await a_link(desk, user.id, user.email, purpose)
        await change_row(desk, user.id, status=status)
        refused(await verify(api.http, token), 422, "link_expired")
        assert (await row_of(desk, user.id)).email_verified_at is None

    async def test_one_of_a_suspended_organisation(self, api: Api, desk: Desk, token: str) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        refused(await verify(api.http, token), 422, "link_expired")

    @pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": None}, {"token": "x" * 201}, {"token": ["x"]}])
    async def test_none(self, api: Api, body: object) -> None:
        assert wrong_fields(await api.http.post("/auth/email/verify", json=body)) == {"token"}


class TestAnotherLink:
    @pytest.mark.parametrize("status", [AccountStatus.ACTIVE, AccountStatus.PENDING])
    async def test_is_sent_to_who_has_yet_to_prove_it(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus
    ) -> None:
        await change_row(desk, user.id, status=status)
        answer = await resend(api.http, user.email)
        assert (answer.status_code, answer.json()) == (
            202,
            {"message": "If there is such an account, a mail is on its way."},
        )
        assert await events_about(desk, user.id) == ["user.link_requested"]
        assert (await verify(api.http, await token_for(desk, user.id, LinkPurpose.VERIFY_EMAIL))).status_code == 200

    async def test_and_to_nobody_else(self, api: Api, database: Database, desk: Desk, user: SignedInUser) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        await change_row(desk, user.id, email_verified_at=(await row_of(desk, user.id)).created_at)
        await resend(api.http, user.email)
        assert [len(await links_of(desk, user.id)), len(await links_of(other, same.id))] == [0, 1]
        await resend(api.http, user.email, org=desk.domain)
        assert len(await links_of(other, same.id)) == 1

    @pytest.mark.parametrize("status", sorted(set(AccountStatus) - {AccountStatus.ACTIVE, AccountStatus.PENDING}))
    async def test_nor_to_who_is_out(self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus) -> None:
        await change_row(desk, user.id, status=status)
        assert (await resend(api.http, user.email)).status_code == 202
        assert await links_of(desk, user.id) == []

    async def test_the_first_one_works_until_one_of_them_is_used(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await resend(api.http, user.email)
        later = await token_for(desk, user.id, LinkPurpose.VERIFY_EMAIL)
        assert later != token
        assert (await verify(api.http, token)).status_code == 200
        refused(await verify(api.http, later), 422, "link_expired")
