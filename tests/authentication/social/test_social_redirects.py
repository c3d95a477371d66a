"""The redirects to an OpenID provider and back, and their protection against abuse."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from app.access.user_permissions import RoleKind
from app.authentication.social.models import UsedSocialState
from app.authentication.social.state import PendingSignIn, cookie_name
from app.core.clock import real_now
from app.core.database.pool import Database
from app.worker import JOBS, Worker
from tests.accounts.users_and_roles import ok
from tests.authentication.social.openid import (
    Browser,
    count_users,
    create_provider_account,
    provider_settings,
    query_parameters,
    running_service,
    sign_in_cookies,
)
from tests.conftest import SECRET_KEY, settings_for
from tests.organisation_client import Desk
from tests.postgres import TestServer
from tests.problems import assert_problem, read_invalid_fields
from tests.services import Start


class TestStart:
    async def test_the_redirect_has_state_nonce_and_code_challenge(self, browser: Browser, issuer: str) -> None:
        answer = await browser.start()
        query = query_parameters(answer.headers["location"])

        assert answer.headers["location"].startswith(f"{issuer}/oauth2/authorize?")
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert query["redirect_uri"] == "http://tessera.test/auth/oidc/mock/callback"
        assert query["scope"] == "openid email profile"
        assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 32
        (cookie,) = answer.headers.get_list("set-cookie")
        assert {"HttpOnly", "Max-Age=600", "Path=/auth/oidc", "SameSite=lax"} <= set(cookie.split("; "))
        assert not any(query[name] in cookie.partition("=")[2] for name in ("state", "nonce"))

    async def test_the_cookie_is_secure_if_the_public_url_is_https(self, start: Start, desk: Desk, issuer: str) -> None:
        secure = await start(oidc_providers={"mock": provider_settings(issuer)}, public_url="https://tessera.test/api")
        answer = await Browser(secure, desk).start()

        assert {"Secure", "Path=/api/auth/oidc"} <= set(answer.headers["set-cookie"].split("; "))
        query = query_parameters(answer.headers["location"])
        assert query["redirect_uri"] == "https://tessera.test/api/auth/oidc/mock/callback"

    async def test_concurrent_sign_ins_in_one_browser_work(self, browser: Browser, sub: str) -> None:
        first, second = await browser.log_in_at_provider(sub), await browser.log_in_at_provider(sub)

        assert len(sign_in_cookies(browser)) == 2
        ok(await browser.follow_callback(first))
        ok(await browser.follow_callback(second))

    async def test_an_unknown_provider_is_not_found(self, browser: Browser) -> None:
        browser.provider = "unknown"
        assert_problem(await browser.start(), 404, "provider_not_found")
        assert_problem(
            await browser.tessera.get("/auth/oidc/unknown/callback?code=1&state=2"), 404, "provider_not_found"
        )

    async def test_an_unknown_organisation_is_not_found(self, browser: Browser) -> None:
        assert_problem(await browser.start(org="unknown.test"), 404, "organisation_not_found")

    async def test_invalid_parameters_are_rejected(self, browser: Browser) -> None:
        assert read_invalid_fields(await browser.start(role="OWNER")) == {"role"}
        assert read_invalid_fields(await browser.start(colour="red")) == {"colour"}
        assert read_invalid_fields(await browser.tessera.get("/auth/oidc/mock/start")) == {"org"}

    async def test_an_unreachable_provider_is_a_503(self, start: Start, desk: Desk) -> None:
        service = await start(
            oidc_providers={"down": provider_settings("http://127.0.0.1:9")}, public_url="http://tessera.test"
        )

        assert_problem(await Browser(service, desk, "down").start(), 503, "provider_unavailable")

    async def test_sign_ins_are_limited_per_address(self, start: Start, desk: Desk, issuer: str) -> None:
        settings = {"oidc_providers": {"mock": provider_settings(issuer)}, "public_url": "http://tessera.test"}
        browser = Browser(await start(sign_in_limit="3/hour", **settings), desk)
        for _ in range(3):
            assert (await browser.start()).status_code == 302

        assert_problem(await browser.start(), 429, "rate_limited")
        assert_problem(await browser.tessera.get(f"/auth/oidc/mock/callback?state={'a' * 32}"), 429, "rate_limited")

    async def test_new_users_count_as_sign_ups(self, start: Start, desk: Desk, issuer: str) -> None:
        settings = {"oidc_providers": {"mock": provider_settings(issuer)}, "public_url": "http://tessera.test"}
        browser = Browser(await start(sign_up_limit="1/hour", **settings), desk)
        known = await create_provider_account(issuer)
        ok(await browser.sign_in(known))

        assert_problem(await browser.sign_in(await create_provider_account(issuer)), 429, "rate_limited")
        ok(await browser.sign_in(known))


class TestCallback:
    async def test_only_the_browser_that_started_can_finish(self, browser: Browser, sub: str) -> None:
        address = await browser.log_in_at_provider(sub)
        another = Browser(browser.service, browser.desk)

        assert_problem(await another.follow_callback(address), 403, "state_mismatch")
        await another.start()
        assert_problem(await another.follow_callback(address), 403, "state_mismatch")
        assert await count_users(browser.desk) == 1

    async def test_a_code_of_another_sign_in_is_refused(self, browser: Browser, sub: str, issuer: str) -> None:
        """An attacker cannot sign a victim in to the attacker's account by injecting a code."""
        attacker = Browser(browser.service, browser.desk)
        code = query_parameters(await attacker.log_in_at_provider(await create_provider_account(issuer)))["code"]
        state = query_parameters(await browser.log_in_at_provider(sub))["state"]

        answer = await browser.tessera.get("/auth/oidc/mock/callback", params={"code": code, "state": state})
        assert_problem(answer, 403, "social_sign_in_refused")  # the nonce differs

    @pytest.mark.parametrize("state", ["", "x", "a" * 32, "a;b=" * 8, "ä" * 32, "\0" * 32])
    async def test_an_unknown_state_is_refused(self, browser: Browser, state: str) -> None:
        headers = {"Cookie": f"tessera_oidc_mock_{'a' * 8}=nonsense; tessera_oidc_mock_a[b=1"}
        answer = await browser.tessera.get(
            "/auth/oidc/mock/callback", params={"code": "1", "state": state}, headers=headers
        )
        assert_problem(answer, 403, "state_mismatch")
        assert_problem(await browser.tessera.get("/auth/oidc/mock/callback?code=1"), 403, "state_mismatch")

    async def test_a_callback_can_be_used_once(self, browser: Browser, sub: str) -> None:
        address = await browser.log_in_at_provider(sub)
        cookies = dict(browser.tessera.cookies)
        ok(await browser.follow_callback(address))

        assert_problem(await browser.follow_callback(address), 403, "state_mismatch")
        browser.tessera.cookies.update(cookies)  # a browser that keeps deleted cookies
        assert_problem(await browser.follow_callback(address), 403, "state_mismatch")

    async def test_of_concurrent_callbacks_in_several_processes_one_signs_in(
        self, server: TestServer, issuer: str, browser: Browser, sub: str
    ) -> None:
        address = await browser.log_in_at_provider(sub)
        async with running_service(server, mock=issuer) as other_process:
            there = Browser(other_process, browser.desk)
            there.tessera.cookies.update(dict(browser.tessera.cookies))
            answers = await asyncio.gather(browser.follow_callback(address), there.follow_callback(address))

        assert sorted(answer.status_code for answer in answers) == [200, 403]
        (refused,) = (answer for answer in answers if answer.status_code == 403)
        assert_problem(refused, 403, "state_mismatch")

    async def test_a_callback_that_failed_counts_too(self, browser: Browser, sub: str) -> None:
        address = await browser.log_in_at_provider(sub)
        cookies = dict(browser.tessera.cookies)
        state = parse_qs(urlsplit(address).query)["state"][0]
        denied = f"/auth/oidc/mock/callback?error=access_denied&state={state}"
        assert_problem(await browser.tessera.get(denied), 403, "social_sign_in_refused")
        browser.tessera.cookies.update(cookies)
        assert_problem(await browser.follow_callback(address), 403, "state_mismatch")

    async def test_housekeeping_deletes_used_states_that_have_expired(
        self, server: TestServer, database: Database, browser: Browser, sub: str
    ) -> None:
        async def list_states() -> list[UsedSocialState]:
            async with database.session(browser.desk.id) as db:
                found = select(UsedSocialState).where(UsedSocialState.org_id == browser.desk.id)
                return list(await db.scalars(found))

        ok(await browser.follow_callback(await browser.log_in_at_provider(sub)))
        worker = Worker(settings_for(server), database)
        await JOBS["housekeeping"].run(worker)
        assert len(await list_states()) == 1
        async with database.session(browser.desk.id) as db:
            states = update(UsedSocialState).where(UsedSocialState.org_id == browser.desk.id)
            await db.execute(states.values(expires_at=real_now()))
        await JOBS["housekeeping"].run(worker)
        assert await list_states() == []

    async def test_an_expired_or_foreign_cookie_is_refused(self, browser: Browser) -> None:
        for ago, provider in ((timedelta(minutes=11), "mock"), (timedelta(0), "twin")):
            pending = PendingSignIn.begin(browser.desk.domain, RoleKind.CUSTOMER, real_now() - ago, remember=False)
            name = cookie_name("mock", pending.state)
            browser.tessera.cookies.set(name, pending.seal(SECRET_KEY, provider), domain="tessera.test")
            answer = await browser.tessera.get(f"/auth/oidc/mock/callback?code=1&state={pending.state}")

            assert_problem(answer, 403, "state_mismatch")

    async def test_a_modified_cookie_is_refused(self, browser: Browser, sub: str) -> None:
        address = await browser.log_in_at_provider(sub)
        (name,) = sign_in_cookies(browser)
        value = browser.tessera.cookies[name]
        browser.tessera.cookies.clear()
        changed = value[:20] + ("A" if value[20] != "A" else "B") + value[21:]
        answer = await browser.tessera.get(address, headers={"Cookie": f"{name}={changed}"})

        assert_problem(answer, 403, "state_mismatch")

    async def test_a_sign_in_denied_at_the_provider_is_refused(self, browser: Browser) -> None:
        started = await browser.start()
        async with httpx.AsyncClient() as web:
            redirect = await web.post(started.headers["location"], data={"action": "deny"})
        assert query_parameters(redirect.headers["location"])["error"] == "access_denied"
        state = query_parameters(started.headers["location"])["state"]
        answer = await browser.tessera.get(f"/auth/oidc/mock/callback?error=access_denied&state={state}")

        assert_problem(answer, 403, "social_sign_in_refused")
        assert sign_in_cookies(browser) == []

    async def test_unknown_callback_parameters_are_ignored(self, browser: Browser, sub: str) -> None:
        ok(
            await browser.follow_callback(
                f"{await browser.log_in_at_provider(sub)}&authuser=0&hd=growfin.test&prompt=none"
            )
        )
