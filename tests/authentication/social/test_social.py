"""Social sign-in, against a third-party OpenID provider."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update

from app.access.user_permissions import RoleKind
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.organisations.models import Organisation
from tests.accounts.users_and_roles import add_user, list_events, ok
from tests.authentication.second_factor.authenticators import ProtectedUser, create_protected_user
from tests.authentication.social.openid import (
    Browser,
    count_users,
    create_provider_account,
    email_of,
    fragment_parameters,
    sign_in_cookies,
)
from tests.organisation_client import JSON, Api, Desk, create_desk
from tests.problems import KEYS, assert_problem, read_invalid_fields
from tests.services import Service, unique_email

APP_URL = "https://desk.growfin.test/support"


async def set_app_url(desk: Desk) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(app_url=APP_URL))


async def verify(desk: Desk, user_id: UUID) -> None:
    async with desk.database.session(desk.id) as db:
        conditions = (UserRow.org_id == desk.id, UserRow.id == user_id)
        await db.execute(update(UserRow).where(*conditions).values(email_verified_at=real_now()))


class TestFirstSignIn:
    async def test_a_new_customer_is_active_and_signed_in(self, browser: Browser, sub: str) -> None:
        body = ok(await browser.sign_in(sub))

        user = body["user"]
        assert (user["firstName"], user["lastName"], user["email"]) == ("Mia", "Stone", email_of(sub))
        assert (user["role"], user["status"], user["emailVerified"]) == ("CUSTOMER", "ACTIVE", True)
        assert user["orgId"] == str(browser.desk.id)
        assert body["refreshExpiresIn"] == 86_400
        headers = {"Authorization": f"Bearer {body['accessToken']}"}
        assert ok(await browser.tessera.get("/me", headers=headers))["id"] == user["id"]
        assert [kind for kind, _ in await list_events(browser.desk, UUID(user["id"]))] == [
            "user.signed_up", "user.email_verified",
        ]  # fmt: skip

    async def test_the_response_is_not_cached_and_clears_the_cookie(self, browser: Browser, sub: str) -> None:
        answer = await browser.sign_in(sub)

        assert answer.headers["cache-control"] == "no-store"
        assert sign_in_cookies(browser) == []

    async def test_remember_me_extends_the_session(self, browser: Browser, sub: str) -> None:
        assert ok(await browser.sign_in(sub, rememberMe="true"))["refreshExpiresIn"] == 30 * 86_400

    @pytest.mark.parametrize("role", ["ENGINEER", "ADMIN"])
    async def test_new_staff_wait_for_approval(self, browser: Browser, sub: str, role: str) -> None:
        assert_problem(await browser.sign_in(sub, role=role), 403, "account_pending")
        assert_problem(await browser.sign_in(sub, role=role), 403, "account_pending")
        assert await count_users(browser.desk) == 2

        waiting = ok(await browser.desk.admin.get("/users", params={"status": "PENDING"}))["items"]
        assert [(one["email"], one["role"]) for one in waiting] == [(email_of(sub), role)]
        approved = await browser.desk.admin.post(f"/users/{waiting[0]['id']}/approve")
        assert approved.is_success, approved.text
        assert ok(await browser.sign_in(sub))["user"]["role"] == role

    async def test_concurrent_sign_ins_create_one_user(self, browser: Browser, sub: str) -> None:
        browsers = [browser, *(Browser(browser.service, browser.desk) for _ in range(4))]
        addresses = [await one.log_in_at_provider(sub) for one in browsers]
        answers = await asyncio.gather(
            *(one.follow_callback(address) for one, address in zip(browsers, addresses, strict=True))
        )

        assert len({ok(answer)["user"]["id"] for answer in answers}) == 1
        assert await count_users(browser.desk) == 2

    async def test_a_missing_name_is_taken_from_the_email(self, browser: Browser, issuer: str) -> None:
        subject = await create_provider_account(issuer, email=f"mia.stone-{uuid4().hex}@growfin.test")
        user = ok(await browser.sign_in(subject))["user"]

        assert user["firstName"] == "mia"
        assert user["lastName"].startswith("stone ")

    async def test_each_organisation_gets_a_separate_user(self, browser: Browser, api: Api, sub: str) -> None:
        other = await create_desk(api, browser.desk.database)
        here = ok(await browser.sign_in(sub))["user"]
        there = ok(await Browser(browser.service, other).sign_in(sub))["user"]

        assert here["id"] != there["id"]
        assert (here["orgId"], there["orgId"]) == (str(browser.desk.id), str(other.id))


class TestRepeatedSignIn:
    async def test_a_linked_user_is_found_after_the_email_has_changed(
        self, browser: Browser, sub: str, issuer: str
    ) -> None:
        first = ok(await browser.sign_in(sub))["user"]
        async with httpx.AsyncClient() as web:
            await web.put(f"{issuer}/users/{sub}", json={"email": unique_email(), "email_verified": False})
        again = ok(await browser.sign_in(sub, role="ADMIN"))["user"]

        assert again == first

    async def test_a_link_is_valid_for_one_provider_only(self, browser: Browser, service: Service, issuer: str) -> None:
        sub = await create_provider_account(issuer, email_verified=False)
        async with browser.desk.database.session(browser.desk.id) as db:
            known = browser.desk.admin.id
            db.add(
                ExternalIdentity(
                    org_id=browser.desk.id, provider="mock", subject=sub, user_id=known, created_at=real_now()
                )
            )

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known)
        answer = await Browser(service, browser.desk, "twin").sign_in(sub)
        assert_problem(answer, 403, "email_not_verified")

    @pytest.mark.parametrize(("status", "code"), [("SUSPENDED", "account_suspended"), ("REJECTED", "account_rejected")])
    async def test_an_inactive_user_is_refused_with_the_reason(
        self, browser: Browser, sub: str, status: str, code: str
    ) -> None:
        user = ok(await browser.sign_in(sub))["user"]
        async with browser.desk.database.session(browser.desk.id) as db:
            conditions = (UserRow.org_id == browser.desk.id, UserRow.id == UUID(user["id"]))
            await db.execute(update(UserRow).where(*conditions).values(status=status))

        assert_problem(await browser.sign_in(sub), 403, code)


class TestKnownEmail:
    async def test_a_user_is_linked_if_both_sides_have_verified_the_email(self, browser: Browser, sub: str) -> None:
        known = await add_user(browser.desk, email=email_of(sub), email_verified_at=real_now())

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)
        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)
        assert await list_events(browser.desk, known.id) == [("user.identity_linked", {"provider": "mock"})]

    async def test_the_case_of_the_email_is_ignored(self, browser: Browser, issuer: str) -> None:
        email = unique_email()
        sub = await create_provider_account(issuer, email=email.upper())
        known = await add_user(browser.desk, email=email, email_verified_at=real_now())

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)

    async def test_a_user_with_an_unverified_email_is_not_linked(self, browser: Browser, sub: str) -> None:
        known = await add_user(browser.desk, RoleKind.CUSTOMER, email=email_of(sub))

        problem = assert_problem(await browser.sign_in(sub), 403, "email_not_verified")
        assert "/auth/password/forgot" in problem["detail"]
        await verify(browser.desk, known.id)
        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)

    async def test_an_invited_user_must_accept_the_invitation_first(self, browser: Browser, sub: str) -> None:
        await add_user(browser.desk, email=email_of(sub), status=AccountStatus.INVITED)

        problem = assert_problem(await browser.sign_in(sub), 403, "email_not_verified")
        assert "invitation" in problem["detail"]

    @pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": None}, {"email": "invalid"}])
    async def test_an_email_that_the_provider_has_not_verified_is_rejected(
        self, browser: Browser, issuer: str, claims: JSON
    ) -> None:
        sub = await create_provider_account(issuer, **claims)
        await add_user(browser.desk, email=email_of(sub), email_verified_at=real_now())
        users = await count_users(browser.desk)

        assert_problem(await browser.sign_in(sub), 403, "email_not_verified")
        assert_problem(
            await browser.sign_in(await create_provider_account(issuer, **claims)), 403, "email_not_verified"
        )
        assert await count_users(browser.desk) == users


class TestOrganisationApp:
    async def test_the_app_gets_a_token_in_the_fragment_and_exchanges_it(self, browser: Browser, sub: str) -> None:
        await set_app_url(browser.desk)
        answer = await browser.sign_in(sub)

        assert answer.headers["location"].startswith(f"{APP_URL}/signed-in#token=tlt_")
        assert sign_in_cookies(browser) == []
        token = fragment_parameters(answer)["token"]
        body = ok(await browser.exchange(token, rememberMe=True))
        assert body["user"]["email"] == email_of(sub)
        assert body["refreshExpiresIn"] == 30 * 86_400
        headers = {"Authorization": f"Bearer {body['accessToken']}"}
        assert ok(await browser.tessera.get("/me", headers=headers))["email"] == email_of(sub)

    @pytest.mark.parametrize(("choice", "days"), [({}, 30), ({"rememberMe": False}, 1), ({"rememberMe": True}, 30)])
    async def test_remember_me_of_the_start_applies_unless_the_exchange_overrides_it(
        self, browser: Browser, sub: str, choice: JSON, days: int
    ) -> None:
        await set_app_url(browser.desk)
        token = fragment_parameters(await browser.sign_in(sub, rememberMe="true"))["token"]
        assert ok(await browser.exchange(token, **choice))["refreshExpiresIn"] == days * 86_400
        token = fragment_parameters(await browser.sign_in(sub))["token"]
        assert ok(await browser.exchange(token))["refreshExpiresIn"] == 86_400

    async def test_a_token_can_be_used_once(self, browser: Browser, sub: str) -> None:
        await set_app_url(browser.desk)
        token = fragment_parameters(await browser.sign_in(sub))["token"]
        answers = await asyncio.gather(*(browser.exchange(token) for _ in range(5)))

        assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
        assert read_invalid_fields(await browser.exchange(token), "link_expired") == {"token"}
        assert read_invalid_fields(await browser.exchange("tlt_" + "A" * 76), "link_expired") == {"token"}

    async def test_the_app_gets_the_error_code(self, browser: Browser, sub: str, issuer: str) -> None:
        await set_app_url(browser.desk)
        unverified = await create_provider_account(issuer, email_verified=False)

        answer = await browser.sign_in(unverified)
        assert answer.headers["location"] == f"{APP_URL}/signed-in#error=email_not_verified"
        assert fragment_parameters(await browser.sign_in(sub, role="ENGINEER")) == {"error": "account_pending"}
        assert sign_in_cookies(browser) == []

    async def test_a_user_suspended_meanwhile_cannot_exchange_the_token(self, browser: Browser, sub: str) -> None:
        await set_app_url(browser.desk)
        token = fragment_parameters(await browser.sign_in(sub))["token"]
        async with browser.desk.database.session(browser.desk.id) as db:
            conditions = (UserRow.org_id == browser.desk.id, UserRow.email == email_of(sub))
            await db.execute(update(UserRow).where(*conditions).values(status="SUSPENDED"))

        assert_problem(await browser.exchange(token), 403, "account_suspended")


class TestSecondFactor:
    @pytest.fixture
    async def known(self, desk: Desk, sub: str) -> ProtectedUser:
        user = await create_protected_user(desk)
        async with desk.database.session(desk.id) as db:
            conditions = (UserRow.org_id == desk.id, UserRow.id == user.user.id)
            await db.execute(
                update(UserRow).where(*conditions).values(email=email_of(sub), email_verified_at=real_now())
            )
        return user

    async def test_the_second_factor_is_required(self, browser: Browser, sub: str, known: ProtectedUser) -> None:
        answer = await browser.sign_in(sub)

        assert answer.status_code == 401
        body = answer.json()
        assert body.keys() == KEYS | {"exchangeToken"}
        assert body["code"] == "totp_required"
        assert "Bearer" in answer.headers["www-authenticate"]
        token = body["exchangeToken"]
        assert_problem(await browser.exchange(token), 401, "totp_required")
        assert_problem(await browser.exchange(token, totp=known.authenticator.wrong_code), 401, "totp_invalid")
        signed_in = ok(await browser.exchange(token, totp=known.authenticator.code(1)))
        assert signed_in["user"]["id"] == str(known.user.id)
        assert read_invalid_fields(await browser.exchange(token, totp=known.authenticator.code(1)), "link_expired") == {
            "token"
        }

    async def test_a_recovery_code_is_accepted(self, browser: Browser, sub: str, known: ProtectedUser) -> None:
        await set_app_url(browser.desk)
        token = fragment_parameters(await browser.sign_in(sub))["token"]

        assert_problem(await browser.exchange(token), 401, "totp_required")
        assert ok(await browser.exchange(token, recoveryCode=known.recovery_codes[0]))["user"]["secondFactor"]

    async def test_wrong_codes_are_limited(self, browser: Browser, sub: str, known: ProtectedUser) -> None:
        token = (await browser.sign_in(sub)).json()["exchangeToken"]
        for _ in range(5):
            answer = await browser.exchange(token, totp=known.authenticator.wrong_code)
            assert_problem(answer, 401, "totp_invalid")

        assert_problem(await browser.exchange(token, totp=known.authenticator.code(1)), 429, "rate_limited")
