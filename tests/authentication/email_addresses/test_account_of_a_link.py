"""Whose account a link verifies an address for: its owner is told, and confirms or refuses."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from app.accounts.single_use_links.models import Link, LinkPurpose
from app.core.clock import real_now
from app.core.database.pool import Database
from app.core.security.opaque_tokens import make_link_token
from tests.authentication.account_state import (
    issue_link,
    latest_token,
    list_links,
    read_user,
    token_of,
    update_user,
)
from tests.authentication.account_state import verify_email as verify
from tests.conftest import SECRET_KEY
from tests.organisation_client import PASSWORD, Api, Desk, SignedInUser, create_desk
from tests.problems import assert_problem
from tests.services import create_user, unique_email


@pytest.fixture
async def user(desk: Desk) -> SignedInUser:
    return await create_user(desk)


@pytest.fixture
async def token(desk: Desk, user: SignedInUser) -> str:
    return await issue_link(desk, user.id, user.email, LinkPurpose.VERIFY_EMAIL)


class TestAccountOfALink:
    """Another person may have signed up with the address: its owner sees whose account it is, and decides."""

    async def test_the_link_tells_whose_account_the_address_will_belong_to(self, api: Api, desk: Desk) -> None:
        email = unique_email()
        user_id, token = await sign_up(api, desk, email, firstName="Eve", lastName="Evil")
        for _ in range(2):
            answer = await api.http.post("/auth/email/lookup", json={"token": token})
            assert answer.status_code == 200
            found = answer.json()
            assert abs(datetime.fromisoformat(found.pop("requestedAt")) - real_now()) < timedelta(seconds=30)
            assert found.pop("requestedFrom")
            assert found == {
                "account": str(user_id), "name": "Eve Evil", "email": email, "organisation": "Growfin",
                "domain": desk.domain,
            }  # fmt: skip
        assert (await read_user(desk, user_id)).email_verified_at is None

    async def test_a_page_of_the_organisation_cannot_verify_with_the_token_alone(self, api: Api, desk: Desk) -> None:
        """It may do so when it is opened, without asking the owner of the address."""
        assert (await desk.admin.patch("/org", {"appUrl": "https://app.growfin.test"})).status_code == 200
        user_id, token = await sign_up(api, desk, unique_email())
        for more in ({}, {"account": str(uuid4())}):
            answer = await api.http.post("/auth/email/verify", json={"token": token, **more})
            problem = assert_problem(answer, 409, "account_not_confirmed")
            assert "POST /auth/email/lookup" in problem["title"]
        assert (await read_user(desk, user_id)).email_verified_at is None
        answer = await api.http.post("/auth/email/verify", json={"token": token, "account": str(user_id)})
        assert answer.status_code == 200

    async def test_without_such_a_page_the_token_is_enough(self, api: Api, desk: Desk) -> None:
        """Links lead to a page that shows whose account it is, and asks."""
        user_id, token = await sign_up(api, desk, unique_email())
        stranger = {"token": token, "account": str(uuid4())}
        assert_problem(await api.http.post("/auth/email/verify", json=stranger), 409, "account_not_confirmed")
        assert (await api.http.post("/auth/email/verify", json={"token": token})).status_code == 200
        assert (await read_user(desk, user_id)).email_verified_at is not None

    async def test_following_the_link_hands_no_tickets_to_another_person(self, api: Api, desk: Desk) -> None:
        email = unique_email()
        await desk.open(requester={"email": email})
        await sign_up(api, desk, email)
        token = await latest_token_of(desk, email)
        eve = (await api.http.post("/auth/signin", json={"email": email, "password": PASSWORD})).json()
        headers = {"Authorization": f"Bearer {eve['jwt']}"}

        await api.http.get(f"/verify-email?token={token}")
        await api.http.post("/auth/email/lookup", json={"token": token})

        assert (await api.http.get("/tickets", headers=headers)).json()["items"] == []
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204
        assert_problem(await api.http.get("/tickets", headers=headers), 401, "invalid_token")

    async def test_a_disowned_sign_up_is_erased_and_the_address_is_free(self, api: Api, desk: Desk) -> None:
        email = unique_email()
        user_id, token = await sign_up(api, desk, email)
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204
        assert (await read_user(desk, user_id)).status == "ERASED"
        assert_problem(
            await api.http.post("/auth/signin", json={"email": email, "password": PASSWORD}),
            401,
            "wrong_email_or_password",
        )
        for path in ("/auth/email/disown", "/auth/email/lookup", "/auth/email/verify"):
            assert_problem(await api.http.post(path, json={"token": token}), 422, "link_expired")
        again, token = await sign_up(api, desk, email)
        assert again != user_id
        assert (await verify(api.http, token)).status_code == 200

    async def test_a_disowned_sign_up_that_waits_for_approval_is_erased(self, api: Api, desk: Desk) -> None:
        user_id, token = await sign_up(api, desk, unique_email(), role="ADMIN")
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204
        assert (await read_user(desk, user_id)).status == "ERASED"

    async def test_a_disowned_account_that_is_active_is_suspended(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204
        assert (await read_user(desk, user.id)).status == "SUSPENDED"
        assert_problem(await user.get("/me"), 401, "invalid_token")

    async def test_the_last_admin_is_only_signed_out(self, api: Api, desk: Desk) -> None:
        token = await issue_link(desk, desk.admin.id, desk.admin.email, LinkPurpose.VERIFY_EMAIL)
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204
        assert (await read_user(desk, desk.admin.id)).status == "ACTIVE"
        assert_problem(await desk.admin.get("/me"), 401, "invalid_token")

    async def test_a_verified_account_cannot_be_disowned(
        self, api: Api, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        await update_user(desk, user.id, email_verified_at=real_now())
        assert_problem(await api.http.post("/auth/email/disown", json={"token": token}), 422, "link_expired")
        assert (await user.get("/me")).status_code == 200

    async def test_the_owner_of_an_address_refuses_a_change_to_it(
        self, api: Api, desk: Desk, user: SignedInUser
    ) -> None:
        target = unique_email()
        body = {"email": target, "password": PASSWORD}
        assert (await user.post("/auth/email/change", body)).status_code == 202
        token = await latest_token(desk, user.id, LinkPurpose.CHANGE_EMAIL)

        found = await api.http.post("/auth/email/lookup", json={"token": token})
        assert (found.json()["account"], found.json()["email"]) == (str(user.id), target)
        assert (await api.http.post("/auth/email/disown", json={"token": token})).status_code == 204

        assert_problem(await verify(api.http, token), 422, "link_expired")
        assert (await user.get("/me")).json()["email"] == user.email

    async def test_a_link_of_another_organisation_finds_no_account(
        self, api: Api, database: Database, desk: Desk, user: SignedInUser, token: str
    ) -> None:
        other = await create_desk(api, database)
        [link] = await list_links(desk, user.id)
        foreign = {"token": make_link_token(SECRET_KEY, other.id, link.id)}
        for path in ("/auth/email/lookup", "/auth/email/disown"):
            assert_problem(await api.http.post(path, json=foreign), 422, "link_expired")
        assert (await api.http.post("/auth/email/lookup", json={"token": token})).status_code == 200


async def sign_up(api: Api, desk: Desk, email: str, **more: str) -> tuple[UUID, str]:
    """Sign up as a visitor; return the id of the account and the token that is mailed to the address."""
    body = {"org": desk.domain, "firstName": "Eve", "email": email, "password": PASSWORD, **more}
    answer = await api.http.post("/auth/signup", json=body)
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"]), await latest_token_of(desk, email)


async def latest_token_of(desk: Desk, email: str) -> str:
    async with desk.database.session(desk.id) as db:
        newest = select(Link).where(Link.org_id == desk.id, Link.email == email).order_by(Link.id.desc()).limit(1)
        return token_of((await db.scalars(newest)).one())
