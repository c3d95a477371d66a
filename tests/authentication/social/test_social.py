"""Social sign-in, against an OpenID provider of somebody else's making."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import update

from app.access.permissions import RoleKind
from app.accounts.users.models import User as UserRow
from app.accounts.users.rules import AccountStatus
from app.authentication.social.models import ExternalIdentity
from app.core.clock import real_now
from app.organisations.models import Organisation
from tests.accounts.crew import events_about, hire, ok
from tests.authentication.second_factor.authenticators import Protected, protected
from tests.authentication.social.openid import Browser, an_account, cookies, count, email_of, fragment
from tests.desks import JSON, Api, Desk, a_desk
from tests.problems import KEYS, refused, wrong_fields
from tests.services import Service, an_email

APP_URL = "https://desk.growfin.test/support"


async def with_app(desk: Desk) -> None:
    async with desk.database.session(desk.id) as db:
        await db.execute(update(Organisation).where(Organisation.id == desk.id).values(app_url=APP_URL))


async def verify(desk: Desk, user_id: UUID) -> None:
    async with desk.database.session(desk.id) as db:
        which = (UserRow.org_id == desk.id, UserRow.id == user_id)
        await db.execute(update(UserRow).where(*which).values(email_verified_at=real_now()))


class TestComingForTheFirstTime:
    async def test_a_customer_is_active_and_signed_in_at_once(self, browser: Browser, sub: str) -> None:
        said = ok(await browser.sign_in(sub))

        user = said["user"]
        assert (user["firstName"], user["lastName"], user["email"]) == ("Mia", "Stone", email_of(sub))
        assert (user["role"], user["status"], user["emailVerified"]) == ("CUSTOMER", "ACTIVE", True)
        assert user["orgId"] == str(browser.desk.id)
        assert said["refreshExpiresIn"] == 86_400
        headers = {"Authorization": f"Bearer {said['accessToken']}"}
        assert ok(await browser.tessera.get("/me", headers=headers))["id"] == user["id"]
        assert [kind for kind, _ in await events_about(browser.desk, UUID(user["id"]))] == [
            "user.signed_up", "user.email_verified",
        ]  # fmt: skip

    async def test_the_answer_has_no_traces(self, browser: Browser, sub: str) -> None:
        answer = await browser.sign_in(sub)

        assert answer.headers["cache-control"] == "no-store"
        assert cookies(browser) == []

    async def test_whoever_wants_to_be_remembered_is(self, browser: Browser, sub: str) -> None:
        assert ok(await browser.sign_in(sub, rememberMe="true"))["refreshExpiresIn"] == 30 * 86_400

    @pytest.mark.parametrize("role", ["ENGINEER", "ADMIN"])
    async def test_who_is_not_a_customer_waits_for_approval(self, browser: Browser, sub: str, role: str) -> None:
        refused(await browser.sign_in(sub, role=role), 403, "account_pending")
        refused(await browser.sign_in(sub, role=role), 403, "account_pending")
        assert await count(browser.desk) == 2

        waiting = ok(await browser.desk.admin.get("/users", params={"status": "PENDING"}))["items"]
        assert [(one["email"], one["role"]) for one in waiting] == [(email_of(sub), role)]
        approved = await browser.desk.admin.post(f"/users/{waiting[0]['id']}/approve")
        assert approved.is_success, approved.text
        assert ok(await browser.sign_in(sub))["user"]["role"] == role

    async def test_two_browsers_at_the_same_moment_make_one_user(self, browser: Browser, sub: str) -> None:
        browsers = [browser, *(Browser(browser.service, browser.desk) for _ in range(4))]
        addresses = [await one.go(sub) for one in browsers]
        answers = await asyncio.gather(
            *(one.come_back(address) for one, address in zip(browsers, addresses, strict=True))
        )

        assert len({ok(answer)["user"]["id"] for answer in answers}) == 1
        assert await count(browser.desk) == 2

    async def test_whoever_has_no_names_is_called_as_their_mailbox(self, browser: Browser, issuer: str) -> None:
        subject = await an_account(issuer, email=f"mia.stone-{uuid4().hex}@growfin.test")
        user = ok(await browser.sign_in(subject))["user"]

        assert user["firstName"] == "mia"
        assert user["lastName"].startswith("stone ")

    async def test_organisations_know_nothing_of_each_other(self, browser: Browser, api: Api, sub: str) -> None:
        other = await a_desk(api, browser.desk.database)
        here = ok(await browser.sign_in(sub))["user"]
        there = ok(await Browser(browser.service, other).sign_in(sub))["user"]

        assert here["id"] != there["id"]
        assert (here["orgId"], there["orgId"]) == (str(browser.desk.id), str(other.id))


class TestComingAgain:
    async def test_it_is_the_same_user_whatever_else_has_changed(self, browser: Browser, sub: str, issuer: str) -> None:
        first = ok(await browser.sign_in(sub))["user"]
        async with httpx.AsyncClient() as web:
            await web.put(f"{issuer}/users/{sub}", json={"email": an_email(), "email_verified": False})
        again = ok(await browser.sign_in(sub, role="ADMIN"))["user"]

        assert again == first

    async def test_another_provider_is_another_matter(self, browser: Browser, service: Service, issuer: str) -> None:
        sub = await an_account(issuer, email_verified=False)
        async with browser.desk.database.session(browser.desk.id) as db:
            known = browser.desk.admin.id
            db.add(
                ExternalIdentity(
                    org_id=browser.desk.id, provider="mock", subject=sub, user_id=known, created_at=real_now()
                )
            )

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known)
        answer = await Browser(service, browser.desk, "twin").sign_in(sub)
        refused(answer, 403, "email_not_verified")

    @pytest.mark.parametrize(("status", "code"), [("SUSPENDED", "account_suspended"), ("REJECTED", "account_rejected")])
    async def test_who_is_not_active_is_told_so(self, browser: Browser, sub: str, status: str, code: str) -> None:
        user = ok(await browser.sign_in(sub))["user"]
        async with browser.desk.database.session(browser.desk.id) as db:
            which = (UserRow.org_id == browser.desk.id, UserRow.id == UUID(user["id"]))
            await db.execute(update(UserRow).where(*which).values(status=status))

        refused(await browser.sign_in(sub), 403, code)


class TestAnEmailThatIsKnown:
    async def test_it_leads_to_its_account_if_both_sides_have_verified_it(self, browser: Browser, sub: str) -> None:
        known = await hire(browser.desk, email=email_of(sub), email_verified_at=real_now())

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)
        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)
        assert await events_about(browser.desk, known.id) == [("user.identity_linked", {"provider": "mock"})]

    async def test_its_case_does_not_matter(self, browser: Browser, issuer: str) -> None:
        email = an_email()
        sub = await an_account(issuer, email=email.upper())
        known = await hire(browser.desk, email=email, email_verified_at=real_now())

        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)

    async def test_an_account_that_somebody_else_may_have_prepared_is_not_linked(
        self, browser: Browser, sub: str
    ) -> None:
        known = await hire(browser.desk, RoleKind.CUSTOMER, email=email_of(sub))

        said = refused(await browser.sign_in(sub), 403, "email_not_verified")
        assert "/auth/password/forgot" in said["detail"]
        await verify(browser.desk, known.id)
        assert ok(await browser.sign_in(sub))["user"]["id"] == str(known.id)

    async def test_who_is_invited_follows_the_invitation(self, browser: Browser, sub: str) -> None:
        await hire(browser.desk, email=email_of(sub), status=AccountStatus.INVITED)

        said = refused(await browser.sign_in(sub), 403, "email_not_verified")
        assert "invitation" in said["detail"]

    @pytest.mark.parametrize("claims", [{"email_verified": False}, {"email_verified": None}, {"email": "nobody"}])
    async def test_one_that_the_provider_does_not_vouch_for_counts_for_nothing(
        self, browser: Browser, issuer: str, claims: JSON
    ) -> None:
        sub = await an_account(issuer, **claims)
        await hire(browser.desk, email=email_of(sub), email_verified_at=real_now())
        users = await count(browser.desk)

        refused(await browser.sign_in(sub), 403, "email_not_verified")
        refused(await browser.sign_in(await an_account(issuer, **claims)), 403, "email_not_verified")
        assert await count(browser.desk) == users


class TestAnAppOfTheOrganisationsOwn:
    async def test_it_gets_a_token_in_the_fragment_and_exchanges_it(self, browser: Browser, sub: str) -> None:
        await with_app(browser.desk)
        answer = await browser.sign_in(sub)

        assert answer.headers["location"].startswith(f"{APP_URL}/signed-in#token=tlt_")
        assert cookies(browser) == []
        token = fragment(answer)["token"]
        said = ok(await browser.exchange(token, rememberMe=True))
        assert said["user"]["email"] == email_of(sub)
        assert said["refreshExpiresIn"] == 30 * 86_400
        headers = {"Authorization": f"Bearer {said['accessToken']}"}
        assert ok(await browser.tessera.get("/me", headers=headers))["email"] == email_of(sub)

    @pytest.mark.parametrize(("said", "days"), [({}, 30), ({"rememberMe": False}, 1), ({"rememberMe": True}, 30)])
    async def test_whoever_began_to_be_remembered_is_unless_the_app_says_otherwise(
        self, browser: Browser, sub: str, said: JSON, days: int
    ) -> None:
        await with_app(browser.desk)
        token = fragment(await browser.sign_in(sub, rememberMe="true"))["token"]
        assert ok(await browser.exchange(token, **said))["refreshExpiresIn"] == days * 86_400
        token = fragment(await browser.sign_in(sub))["token"]
        assert ok(await browser.exchange(token))["refreshExpiresIn"] == 86_400

    async def test_a_token_is_good_once(self, browser: Browser, sub: str) -> None:
        await with_app(browser.desk)
        token = fragment(await browser.sign_in(sub))["token"]
        answers = await asyncio.gather(*(browser.exchange(token) for _ in range(5)))

        assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]
        assert wrong_fields(await browser.exchange(token), "link_expired") == {"token"}
        assert wrong_fields(await browser.exchange("tlt_" + "A" * 76), "link_expired") == {"token"}

    async def test_it_is_told_what_went_wrong(self, browser: Browser, sub: str, issuer: str) -> None:
        await with_app(browser.desk)
        unverified = await an_account(issuer, email_verified=False)

        answer = await browser.sign_in(unverified)
        assert answer.headers["location"] == f"{APP_URL}/signed-in#error=email_not_verified"
        assert fragment(await browser.sign_in(sub, role="ENGINEER")) == {"error": "account_pending"}
        assert cookies(browser) == []

    async def test_who_is_suspended_meanwhile_gets_nothing(self, browser: Browser, sub: str) -> None:
        await with_app(browser.desk)
        token = fragment(await browser.sign_in(sub))["token"]
        async with browser.desk.database.session(browser.desk.id) as db:
            which = (UserRow.org_id == browser.desk.id, UserRow.email == email_of(sub))
            await db.execute(update(UserRow).where(*which).values(status="SUSPENDED"))

        refused(await browser.exchange(token), 403, "account_suspended")


class TestASecondFactor:
    @pytest.fixture
    async def known(self, desk: Desk, sub: str) -> Protected:
        somebody = await protected(desk)
        async with desk.database.session(desk.id) as db:
            which = (UserRow.org_id == desk.id, UserRow.id == somebody.user.id)
            await db.execute(update(UserRow).where(*which).values(email=email_of(sub), email_verified_at=real_now()))
        return somebody

    async def test_it_is_asked_for_all_the_same(self, browser: Browser, sub: str, known: Protected) -> None:
        answer = await browser.sign_in(sub)

        assert answer.status_code == 401
        said = answer.json()
        assert said.keys() == KEYS | {"exchangeToken"}
        assert said["code"] == "totp_required"
        assert "Bearer" in answer.headers["www-authenticate"]
        token = said["exchangeToken"]
        refused(await browser.exchange(token), 401, "totp_required")
        refused(await browser.exchange(token, totp=known.authenticator.wrong_code), 401, "totp_invalid")
        signed_in = ok(await browser.exchange(token, totp=known.authenticator.code(1)))
        assert signed_in["user"]["id"] == str(known.user.id)
        assert wrong_fields(await browser.exchange(token, totp=known.authenticator.code(1)), "link_expired") == {
            "token"
        }

    async def test_a_recovery_code_will_do(self, browser: Browser, sub: str, known: Protected) -> None:
        await with_app(browser.desk)
        token = fragment(await browser.sign_in(sub))["token"]

        refused(await browser.exchange(token), 401, "totp_required")
        assert ok(await browser.exchange(token, recoveryCode=known.recovery_codes[0]))["user"]["secondFactor"]

    async def test_guesses_are_throttled(self, browser: Browser, sub: str, known: Protected) -> None:
        token = (await browser.sign_in(sub)).json()["exchangeToken"]
        for _ in range(5):
            answer = await browser.exchange(token, totp=known.authenticator.wrong_code)
            refused(answer, 401, "totp_invalid")

        refused(await browser.exchange(token, totp=known.authenticator.code(1)), 429, "rate_limited")
