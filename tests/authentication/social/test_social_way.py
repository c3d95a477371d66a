"""The way to an OpenID provider and back, and what keeps it from being abused."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from app.access.permissions import RoleKind
from app.authentication.social.state import Pending, cookie_name
from app.core.clock import real_now
from tests.accounts.crew import ok
from tests.authentication.social.openid import Browser, an_account, cookies, count, parameters, settings_of
from tests.conftest import SECRET_KEY
from tests.desks import Desk
from tests.problems import refused, wrong_fields
from tests.services import Start


class TestTheWayThere:
    async def test_it_leads_to_the_provider_with_all_that_protects_it(self, browser: Browser, issuer: str) -> None:
        answer = await browser.start()
        asked = parameters(answer.headers["location"])

        assert answer.headers["location"].startswith(f"{issuer}/oauth2/authorize?")
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["redirect_uri"] == "http://tessera.test/auth/oidc/mock/callback"
        assert asked["scope"] == "openid email profile"
        assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 32
        (cookie,) = answer.headers.get_list("set-cookie")
        assert {"HttpOnly", "Max-Age=600", "Path=/auth/oidc", "SameSite=lax"} <= set(cookie.split("; "))
        assert not any(asked[name] in cookie.partition("=")[2] for name in ("state", "nonce"))

    async def test_the_cookie_is_for_encrypted_connections_only_where_there_are_any(
        self, start: Start, desk: Desk, issuer: str
    ) -> None:
        secure = await start(oidc_providers={"mock": settings_of(issuer)}, public_url="https://tessera.test/api")
        answer = await Browser(secure, desk).start()

        assert {"Secure", "Path=/api/auth/oidc"} <= set(answer.headers["set-cookie"].split("; "))
        asked = parameters(answer.headers["location"])
        assert asked["redirect_uri"] == "https://tessera.test/api/auth/oidc/mock/callback"

    async def test_two_sign_ins_may_be_under_way_at_once(self, browser: Browser, sub: str) -> None:
        first, second = await browser.go(sub), await browser.go(sub)

        assert len(cookies(browser)) == 2
        ok(await browser.come_back(first))
        ok(await browser.come_back(second))

    async def test_there_must_be_such_a_provider(self, browser: Browser) -> None:
        browser.provider = "nobody"
        refused(await browser.start(), 404, "provider_not_found")
        refused(await browser.tessera.get("/auth/oidc/nobody/callback?code=1&state=2"), 404, "provider_not_found")

    async def test_there_must_be_such_an_organisation(self, browser: Browser) -> None:
        refused(await browser.start(org="nobody.test"), 404, "organisation_not_found")

    async def test_what_is_asked_for_must_make_sense(self, browser: Browser) -> None:
        assert wrong_fields(await browser.start(role="OWNER")) == {"role"}
        assert wrong_fields(await browser.start(colour="red")) == {"colour"}
        assert wrong_fields(await browser.tessera.get("/auth/oidc/mock/start")) == {"org"}

    async def test_a_provider_that_is_down_is_a_503(self, start: Start, desk: Desk) -> None:
        service = await start(
            oidc_providers={"down": settings_of("http://127.0.0.1:9")}, public_url="http://tessera.test"
        )

        refused(await Browser(service, desk, "down").start(), 503, "provider_unavailable")

    async def test_one_address_begins_only_so_many(self, start: Start, desk: Desk, issuer: str) -> None:
        settings = {"oidc_providers": {"mock": settings_of(issuer)}, "public_url": "http://tessera.test"}
        browser = Browser(await start(sign_in_limit="3/minute", **settings), desk)
        for _ in range(3):
            assert (await browser.start()).status_code == 302

        refused(await browser.start(), 429, "rate_limited")
        refused(await browser.tessera.get(f"/auth/oidc/mock/callback?state={'a' * 32}"), 429, "rate_limited")

    async def test_new_users_count_as_sign_ups(self, start: Start, desk: Desk, issuer: str) -> None:
        settings = {"oidc_providers": {"mock": settings_of(issuer)}, "public_url": "http://tessera.test"}
        browser = Browser(await start(sign_up_limit="1/minute", **settings), desk)
        known = await an_account(issuer)
        ok(await browser.sign_in(known))

        refused(await browser.sign_in(await an_account(issuer)), 429, "rate_limited")
        ok(await browser.sign_in(known))


class TestTheWayBack:
    async def test_only_the_browser_that_began_can_end_it(self, browser: Browser, sub: str) -> None:
        address = await browser.go(sub)
        another = Browser(browser.service, browser.desk)

        refused(await another.come_back(address), 403, "state_mismatch")
        await another.start()
        refused(await another.come_back(address), 403, "state_mismatch")
        assert await count(browser.desk) == 1

    async def test_a_code_of_somebody_elses_does_not_fit_ones_own_state(
        self, browser: Browser, sub: str, issuer: str
    ) -> None:
        """Whoever smuggles their code into another's browser does not get them into an account of theirs."""
        attacker = Browser(browser.service, browser.desk)
        code = parameters(await attacker.go(await an_account(issuer)))["code"]
        state = parameters(await browser.go(sub))["state"]

        answer = await browser.tessera.get("/auth/oidc/mock/callback", params={"code": code, "state": state})
        refused(answer, 403, "social_sign_in_refused")  # the nonce is another one

    @pytest.mark.parametrize("state", ["", "x", "a" * 32, "a;b=" * 8, "ä" * 32, "\0" * 32])
    async def test_a_state_of_nobodys_is_refused(self, browser: Browser, state: str) -> None:
        headers = {"Cookie": f"tessera_oidc_mock_{'a' * 8}=nonsense; tessera_oidc_mock_a[b=1"}
        answer = await browser.tessera.get(
            "/auth/oidc/mock/callback", params={"code": "1", "state": state}, headers=headers
        )
        refused(answer, 403, "state_mismatch")
        refused(await browser.tessera.get("/auth/oidc/mock/callback?code=1"), 403, "state_mismatch")

    async def test_it_cannot_be_done_twice(self, browser: Browser, sub: str) -> None:
        address = await browser.go(sub)
        kept = dict(browser.tessera.cookies)
        ok(await browser.come_back(address))

        refused(await browser.come_back(address), 403, "state_mismatch")
        browser.tessera.cookies.update(kept)  # a browser that keeps what it was told to forget
        refused(await browser.come_back(address), 403, "social_sign_in_refused")

    async def test_it_takes_ten_minutes_at_most(self, browser: Browser) -> None:
        for ago, provider in ((timedelta(minutes=11), "mock"), (timedelta(0), "twin")):
            pending = Pending.begin(browser.desk.domain, RoleKind.CUSTOMER, real_now() - ago, remember=False)
            name = cookie_name("mock", pending.state)
            browser.tessera.cookies.set(name, pending.sealed(SECRET_KEY, provider), domain="tessera.test")
            answer = await browser.tessera.get(f"/auth/oidc/mock/callback?code=1&state={pending.state}")

            refused(answer, 403, "state_mismatch")

    async def test_what_is_kept_cannot_be_changed(self, browser: Browser, sub: str) -> None:
        address = await browser.go(sub)
        (name,) = cookies(browser)
        value = browser.tessera.cookies[name]
        browser.tessera.cookies.clear()
        changed = value[:20] + ("A" if value[20] != "A" else "B") + value[21:]
        answer = await browser.tessera.get(address, headers={"Cookie": f"{name}={changed}"})

        refused(answer, 403, "state_mismatch")

    async def test_whoever_says_no_there_is_refused_here(self, browser: Browser) -> None:
        begun = await browser.start()
        async with httpx.AsyncClient() as web:
            back = await web.post(begun.headers["location"], data={"action": "deny"})
        assert parameters(back.headers["location"])["error"] == "access_denied"
        state = parameters(begun.headers["location"])["state"]
        answer = await browser.tessera.get(f"/auth/oidc/mock/callback?error=access_denied&state={state}")

        refused(answer, 403, "social_sign_in_refused")
        assert cookies(browser) == []

    async def test_more_than_was_agreed_is_ignored(self, browser: Browser, sub: str) -> None:
        ok(await browser.come_back(f"{await browser.go(sub)}&authuser=0&hd=growfin.test&prompt=none"))
