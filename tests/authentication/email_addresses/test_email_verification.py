"""Verifying an e-mail with a link mailed to it."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from sqlalchemy import update

from app.accounts.single_use_links.models import LinkPurpose
from app.accounts.users.rules import AccountStatus
from app.core.database.pool import Database
from app.core.security.opaque_tokens import make_link_token
from app.organisations.models import Organisation
from tests.authentication.account_state import (
    expire_links,
    issue_link,
    latest_token,
    list_event_types,
    list_links,
    read_user,
    update_user,
)
from tests.authentication.account_state import verify_email as verify
from tests.conftest import SECRET_KEY
from tests.organisation_client import Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem, read_invalid_fields
from tests.services import create_user


async def resend(http: httpx.AsyncClient, email: str, **more: object) -> httpx.Response:
    return await http.post("/auth/email/resend", json={"email": email, **more})


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
async def token(desk: Desk, user: SignedInUser) -> str:
    return await issue_link(desk, user.id, user.email, LinkPurpose.VERIFY_EMAIL)


class TestVerification:
    async def test_the_link_verifies_the_email(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        assert (await user.get("/me")).json()["emailVerified"] is False
        answer = await verify(api.http, token)
        assert (answer.status_code, answer.json()) == (200, {"email": user.email, "verified": True})
        assert (await user.get("/me")).json()["emailVerified"] is True
        assert await list_event_types(desk, user.id) == ["user.email_verified"]

    async def test_a_pending_user_can_verify_the_email(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await update_user(desk, user.id, status="PENDING")
        assert (await verify(api.http, token)).status_code == 200
        row = await read_user(desk, user.id)
        assert (row.status, row.email_verified_at is not None) == ("PENDING", True), "conditions approves nothing"

    async def test_verifying_again_changes_nothing(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        verified_at = (await read_user(desk, user.id)).created_at
        await update_user(desk, user.id, email_verified_at=verified_at)
        assert (await verify(api.http, token)).status_code == 200
        assert (await read_user(desk, user.id)).email_verified_at == verified_at
        assert await list_event_types(desk, user.id) == []

    async def test_sessions_continue(self, api: Api, user: SignedInUser, token: str) -> None:
        await verify(api.http, token)
        assert (await user.get("/me")).status_code == 200


class TestInvalidLinks:
    async def test_a_used_link_is_refused(self, api: Api, token: str) -> None:
        assert (await verify(api.http, token)).status_code == 200
        assert read_invalid_fields(await verify(api.http, token), "link_expired") == {"token"}

    async def test_one_of_several_concurrent_uses_succeeds(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        answers = await asyncio.gather(*(verify(api.http, token) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] + [422] * 4
        assert await list_event_types(desk, user.id) == ["user.email_verified"]

    async def test_an_expired_link_is_refused(self, api: Api, desk: Desk, user: SignedInUser, token: str) -> None:
        await expire_links(desk, user.id)
        assert_problem(await verify(api.http, token), 422, "link_expired")
        assert (await read_user(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("purpose", [LinkPurpose.RESET_PASSWORD, LinkPurpose.INVITATION, LinkPurpose.SIGN_IN])
    async def test_a_link_for_another_purpose_is_refused_and_stays_usable(
        self, api: Api, desk: Desk, user: SignedInUser, purpose: LinkPurpose
    ) -> None:
        assert_problem(
            await verify(api.http, await issue_link(desk, user.id, user.email, purpose)), 422, "link_expired"
        )
        assert len(await list_links(desk, user.id, purpose)) == 1

    async def test_a_link_of_another_organisation_is_refused(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        other = await create_desk(api, database)
        [link] = await list_links(desk, user.id)
        assert_problem(await verify(api.http, make_link_token(SECRET_KEY, other.id, link.id)), 422, "link_expired")
        assert (await verify(api.http, token)).status_code == 200

    async def test_a_link_mailed_to_another_address_is_refused(self, api: Api, desk: Desk, user: SignedInUser) -> None:
        token = await issue_link(desk, user.id, "before@growfin.test", LinkPurpose.VERIFY_EMAIL)
        assert_problem(await verify(api.http, token), 422, "link_expired")
        assert (await read_user(desk, user.id)).email_verified_at is None

    @pytest.mark.parametrize("status", sorted(set(AccountStatus) - {AccountStatus.ACTIVE, AccountStatus.PENDING}))
    @pytest.mark.parametrize("purpose", [LinkPurpose.VERIFY_EMAIL, LinkPurpose.CHANGE_EMAIL])
    async def test_a_link_of_an_inactive_user_is_refused(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus, purpose: LinkPurpose
    ) -> None:
        token = await issue_link(desk, user.id, user.email, purpose)
        await update_user(desk, user.id, status=status)
        assert_problem(await verify(api.http, token), 422, "link_expired")
        assert (await read_user(desk, user.id)).email_verified_at is None

    async def test_a_link_of_a_suspended_organisation_is_refused(self, api: Api, desk: Desk, token: str) -> None:
        async with desk.database.session(desk.id) as db:
            await db.execute(update(Organisation).where(Organisation.id == desk.id).values(status="SUSPENDED"))
        assert_problem(await verify(api.http, token), 422, "link_expired")

    @pytest.mark.parametrize("body", [{}, {"token": ""}, {"token": None}, {"token": "x" * 201}, {"token": ["x"]}])
    async def test_an_invalid_token_field_is_reported(self, api: Api, body: object) -> None:
        assert read_invalid_fields(await api.http.post("/auth/email/verify", json=body)) == {"token"}


class TestResend:
    @pytest.mark.parametrize("status", [AccountStatus.ACTIVE, AccountStatus.PENDING])
    async def test_an_unverified_user_gets_another_link(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus
    ) -> None:
        await update_user(desk, user.id, status=status)
        answer = await resend(api.http, user.email)
        assert (answer.status_code, answer.json()) == (
            202,
            {"message": "If there is such an account, a mail is on its way."},
        )
        assert await list_event_types(desk, user.id) == ["user.link_requested"]
        assert (await verify(api.http, await latest_token(desk, user.id, LinkPurpose.VERIFY_EMAIL))).status_code == 200

    async def test_verified_users_get_no_link(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser
    ) -> None:
        other = await create_desk(api, database)
        same = await create_user(other, user.email)
        await update_user(desk, user.id, email_verified_at=(await read_user(desk, user.id)).created_at)
        await resend(api.http, user.email)
        assert [len(await list_links(desk, user.id)), len(await list_links(other, same.id))] == [0, 1]
        await resend(api.http, user.email, org=desk.domain)
        assert len(await list_links(other, same.id)) == 1

    @pytest.mark.parametrize("status", sorted(set(AccountStatus) - {AccountStatus.ACTIVE, AccountStatus.PENDING}))
    async def test_an_inactive_user_gets_no_link(
        self, api: Api, desk: Desk, user: SignedInUser, status: AccountStatus
    ) -> None:
        await update_user(desk, user.id, status=status)
        assert (await resend(api.http, user.email)).status_code == 202
        assert await list_links(desk, user.id) == []

    async def test_earlier_links_work_until_one_of_them_is_used(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await resend(api.http, user.email)
        later = await latest_token(desk, user.id, LinkPurpose.VERIFY_EMAIL)
        assert later != token
        assert (await verify(api.http, token)).status_code == 200
        assert_problem(await verify(api.http, later), 422, "link_expired")
