"""How we talk to a provider, whatever it answers; nothing of it is written down."""

from __future__ import annotations

import base64
import hashlib
import logging
from dataclasses import replace

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from structlog.testing import capture_logs

from app.authentication.social.state import Pending, cookie_name
from app.core.clock import real_now
from tests.accounts.crew import hire, ok
from tests.authentication.social.openid import CLIENT_SECRET, Browser, OwnProvider, parameters
from tests.conftest import SECRET_KEY
from tests.desks import JSON
from tests.problems import refused

REFUSED = (403, "social_sign_in_refused")


class TestTheCode:
    async def test_its_verifier_is_sent_and_is_the_right_one(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        ok(await browser.sign_in())

        (_, asked), (_, exchanged) = [one for one in own.asked if one[0] in {"/authorize", "/token"}]
        digest = hashlib.sha256(exchanged["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        assert exchanged["grant_type"] == "authorization_code"
        assert asked["tenant"] == "1"  # what the address of the endpoint had of its own

    async def test_without_the_right_verifier_it_is_worth_nothing(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        address = await browser.go("")
        asked = next(said for path, said in own.asked if path == "/authorize")
        pending = Pending.begin(browser.desk.domain, "CUSTOMER", real_now(), remember=False)  # type: ignore[arg-type]
        thief = replace(pending, state=asked["state"], nonce=asked["nonce"])
        browser.tessera.cookies.clear()
        headers = {"Cookie": f"{cookie_name('own', thief.state)}={thief.sealed(SECRET_KEY, 'own')}"}

        refused(await browser.tessera.get(address, headers=headers), *REFUSED)

    async def test_the_client_proves_itself_as_the_provider_wants(self, fresh: Browser, own: OwnProvider) -> None:
        own.vouch()
        own.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]}
        ok(await fresh.sign_in())
        assert own.authenticated == ["client_secret_post"]

    async def test_by_default_it_does_so_in_the_header(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        ok(await browser.sign_in())
        assert own.authenticated == ["client_secret_basic"]

    @pytest.mark.parametrize(
        ("answer", "status", "code"),
        [
            (JSONResponse({"error": "invalid_grant"}, 400), *REFUSED),
            (JSONResponse({"error": "invalid_client"}, 401), *REFUSED),
            (JSONResponse({"access_token": "1"}), *REFUSED),
            (JSONResponse({"access_token": "1", "id_token": 7}), *REFUSED),
            (JSONResponse(["id_token"]), *REFUSED),
            (PlainTextResponse("Hello"), *REFUSED),
            (PlainTextResponse("x" * 600_000), *REFUSED),
            (RedirectResponse("/elsewhere"), *REFUSED),
            (PlainTextResponse("Sorry", 502), 503, "provider_unavailable"),
        ],
        ids=["bad code", "bad client", "no ID token", "a number", "a list", "a text", "too much", "elsewhere", "down"],
    )
    async def test_whatever_else_comes_for_it_is_a_refusal(
        self, browser: Browser, own: OwnProvider, answer: Response, status: int, code: str
    ) -> None:
        own.vouch()
        own.refusing = answer

        refused(await browser.sign_in(), status, code)

    async def test_one_of_another_provider_is_not_exchanged(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        own.answered = {"iss": "https://accounts.google.com"}
        refused(await browser.sign_in(), *REFUSED)
        assert own.times_asked("/token") == 0

        own.answered = {"iss": own.url, "session_state": "x", "scope": "openid"}
        ok(await browser.sign_in())


class TestMetadata:
    async def test_it_is_read_once_an_hour(self, fresh: Browser, own: OwnProvider) -> None:
        own.vouch()
        for _ in range(3):
            ok(await fresh.sign_in())
        assert own.times_asked("/.well-known/openid-configuration") == 1

    @pytest.mark.parametrize(
        "lie",
        [
            {"issuer": "https://accounts.google.com"},
            {"issuer": None},
            {"authorization_endpoint": None},
            {"authorization_endpoint": "javascript:alert(1)"},
            {"token_endpoint": "http://192.0.2.1/token"},
            {"jwks_uri": "file:///etc/passwd"},
            {"userinfo_endpoint": "//growfin.test"},
        ],
        ids=str,
    )
    async def test_wrong_metadata_is_not_followed(self, fresh: Browser, own: OwnProvider, lie: JSON) -> None:
        own.metadata = lie

        refused(await fresh.start(), 503, "provider_unavailable")

    @pytest.mark.parametrize("garbled", ["", "[]", "{", "null", "[" * 100_000])
    async def test_what_is_no_metadata_is_not_understood(self, fresh: Browser, own: OwnProvider, garbled: str) -> None:
        own.garbled = garbled
        refused(await fresh.start(), 503, "provider_unavailable")

        own.garbled = None
        assert (await fresh.start()).status_code == 302


class TestUserinfo:
    async def test_it_is_asked_for_an_email_that_the_token_lacks(self, browser: Browser, own: OwnProvider) -> None:
        sub = own.vouch(email=None, email_verified=None, name=None)
        own.userinfo = {"sub": sub, "email": f"{sub}@growfin.test", "email_verified": True, "given_name": "Grace"}
        user = ok(await browser.sign_in())["user"]

        assert (user["email"], user["firstName"]) == (f"{sub}@growfin.test", "Grace")
        assert own.times_asked("/userinfo") == 1

    async def test_otherwise_it_is_not(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        ok(await browser.sign_in())
        assert own.times_asked("/userinfo") == 0

    async def test_it_must_be_about_the_same_user(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch(email=None)
        own.userinfo = {"sub": "another", "email": "ada@growfin.test", "email_verified": True}

        refused(await browser.sign_in(), *REFUSED)

    @pytest.mark.parametrize("token", [None, 7, "", "ä", "a\nb", "\0"])
    async def test_it_takes_an_access_token(self, browser: Browser, own: OwnProvider, token: object) -> None:
        own.vouch(email=None)
        own.userinfo = {}
        own.tokens = {"access_token": token}

        refused(await browser.sign_in(), *REFUSED)
        assert own.times_asked("/userinfo") == 0

    async def test_the_token_does_not_vouch_for_its_email(self, browser: Browser, own: OwnProvider) -> None:
        sub = own.vouch(email=None, xms_edov=True)
        known = await hire(browser.desk, email_verified_at=real_now())
        own.userinfo = {"sub": sub, "email": known.email}

        refused(await browser.sign_in(), 403, "email_not_verified")


async def test_nothing_secret_is_in_the_logs(
    browser: Browser, own: OwnProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets, written = [CLIENT_SECRET, "s3cret", "a-secret-of-theirs"], []
    for lie in ({}, {"nonce": "another"}, {"email_verified": False}, {"refused": True}):
        own.vouch(**lie)
        if "refused" in lie:
            error = {"error": "invalid_grant", "error_description": "a-secret-of-theirs"}
            own.refusing = JSONResponse(error, 400)
        address = await browser.go("")
        caplog.clear()
        with capture_logs() as logs:
            answer = await browser.come_back(address)
        # What the tests' own browser says of itself is nobody's log.
        told = [record.getMessage() for record in caplog.records]
        written += [str(logs), *(line for line in told if "GET http://tessera.test/" not in line)]
        secrets += [parameters(address)[name] for name in ("code", "state")]
        secrets += [answer.json().get(name, "") for name in ("accessToken", "refreshToken")]
    secrets += [*own.given, *(said.get("code_verifier", "") for _, said in own.asked)]
    everything = "\n".join(written)

    assert everything.count("social_sign_in_refused") == 2
    assert everything.count(f"POST {own.url}/token") == 4
    assert [secret for secret in secrets if secret and secret in everything] == []
