"""Requests to a provider, invalid responses of it, and what is logged."""

from __future__ import annotations

import base64
import hashlib
import logging
from dataclasses import replace

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from structlog.testing import capture_logs

from app.authentication.social.state import PendingSignIn, cookie_name
from app.core.clock import real_now
from tests.accounts.users_and_roles import add_user, ok
from tests.authentication.social.openid import CLIENT_SECRET, Browser, ScriptedProvider, query_parameters
from tests.conftest import SECRET_KEY
from tests.organisation_client import JSON
from tests.problems import assert_problem

REFUSED = (403, "social_sign_in_refused")


class TestCode:
    async def test_the_code_verifier_matches_the_challenge(self, browser: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity()
        ok(await browser.sign_in())

        (_, asked), (_, exchanged) = [one for one in scripted.requests if one[0] in {"/authorize", "/token"}]
        digest = hashlib.sha256(exchanged["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        assert exchanged["grant_type"] == "authorization_code"
        assert asked["tenant"] == "1"  # the endpoint's own query parameter is kept

    async def test_a_code_with_another_verifier_is_refused(self, browser: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity()
        address = await browser.log_in_at_provider("")
        authorization = next(parameters for path, parameters in scripted.requests if path == "/authorize")
        pending = PendingSignIn.begin(browser.desk.domain, "CUSTOMER", real_now(), remember=False)  # type: ignore[arg-type]
        stolen = replace(pending, state=authorization["state"], nonce=authorization["nonce"])
        browser.tessera.cookies.clear()
        headers = {"Cookie": f"{cookie_name('scripted', stolen.state)}={stolen.seal(SECRET_KEY, 'scripted')}"}

        assert_problem(await browser.tessera.get(address, headers=headers), *REFUSED)

    async def test_the_client_uses_a_supported_authentication_method(
        self, fresh: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        scripted.metadata = {"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]}
        ok(await fresh.sign_in())
        assert scripted.auth_methods == ["client_secret_post"]

    async def test_the_client_authenticates_in_the_header_by_default(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        ok(await browser.sign_in())
        assert scripted.auth_methods == ["client_secret_basic"]

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
    async def test_any_other_token_response_is_refused(
        self, browser: Browser, scripted: ScriptedProvider, answer: Response, status: int, code: str
    ) -> None:
        scripted.set_identity()
        scripted.token_response = answer

        assert_problem(await browser.sign_in(), status, code)

    async def test_a_code_of_another_issuer_is_not_exchanged(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        scripted.extra_callback_parameters = {"iss": "https://accounts.google.com"}
        assert_problem(await browser.sign_in(), *REFUSED)
        assert scripted.count_requests("/token") == 0

        scripted.extra_callback_parameters = {"iss": scripted.url, "session_state": "x", "scope": "openid"}
        ok(await browser.sign_in())


class TestMetadata:
    async def test_metadata_is_cached(self, fresh: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity()
        for _ in range(3):
            ok(await fresh.sign_in())
        assert scripted.count_requests("/.well-known/openid-configuration") == 1

    @pytest.mark.parametrize(
        "overrides",
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
    async def test_invalid_metadata_is_rejected(
        self, fresh: Browser, scripted: ScriptedProvider, overrides: JSON
    ) -> None:
        scripted.metadata = overrides

        assert_problem(await fresh.start(), 503, "provider_unavailable")

    @pytest.mark.parametrize("body", ["", "[]", "{", "null", "[" * 100_000])
    async def test_a_malformed_metadata_document_is_rejected(
        self, fresh: Browser, scripted: ScriptedProvider, body: str
    ) -> None:
        scripted.metadata_body = body
        assert_problem(await fresh.start(), 503, "provider_unavailable")

        scripted.metadata_body = None
        assert (await fresh.start()).status_code == 302


class TestUserinfo:
    async def test_userinfo_provides_an_email_missing_in_the_token(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        sub = scripted.set_identity(email=None, email_verified=None, name=None)
        scripted.userinfo = {"sub": sub, "email": f"{sub}@growfin.test", "email_verified": True, "given_name": "Grace"}
        user = ok(await browser.sign_in())["user"]

        assert (user["email"], user["firstName"]) == (f"{sub}@growfin.test", "Grace")
        assert scripted.count_requests("/userinfo") == 1

    async def test_userinfo_is_not_requested_if_the_token_has_an_email(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        ok(await browser.sign_in())
        assert scripted.count_requests("/userinfo") == 0

    async def test_userinfo_of_another_subject_is_refused(self, browser: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity(email=None)
        scripted.userinfo = {"sub": "another", "email": "ada@growfin.test", "email_verified": True}

        assert_problem(await browser.sign_in(), *REFUSED)

    @pytest.mark.parametrize("token", [None, 7, "", "ä", "a\nb", "\0"])
    async def test_userinfo_requires_a_valid_access_token(
        self, browser: Browser, scripted: ScriptedProvider, token: object
    ) -> None:
        scripted.set_identity(email=None)
        scripted.userinfo = {}
        scripted.token_overrides = {"access_token": token}

        assert_problem(await browser.sign_in(), *REFUSED)
        assert scripted.count_requests("/userinfo") == 0

    async def test_the_tokens_verification_does_not_apply_to_the_userinfo_email(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        sub = scripted.set_identity(email=None, xms_edov=True)
        known = await add_user(browser.desk, email_verified_at=real_now())
        scripted.userinfo = {"sub": sub, "email": known.email}

        assert_problem(await browser.sign_in(), 403, "email_not_verified")


async def test_logs_contain_no_secrets(
    browser: Browser, scripted: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets, written = [CLIENT_SECRET, "s3cret", "a-secret-of-the-provider"], []
    for overrides in ({}, {"nonce": "another"}, {"email_verified": False}, {"refused": True}):
        scripted.set_identity(**overrides)
        if "refused" in overrides:
            error = {"error": "invalid_grant", "error_description": "a-secret-of-the-provider"}
            scripted.token_response = JSONResponse(error, 400)
        address = await browser.log_in_at_provider("")
        caplog.clear()
        with capture_logs() as logs:
            answer = await browser.follow_callback(address)
        # Requests of the test's browser are not part of the service's log.
        messages = [record.getMessage() for record in caplog.records]
        written += [str(logs), *(line for line in messages if "GET http://tessera.test/" not in line)]
        secrets += [query_parameters(address)[name] for name in ("code", "state")]
        secrets += [answer.json().get(name, "") for name in ("accessToken", "refreshToken")]
    secrets += [*scripted.issued_secrets, *(parameters.get("code_verifier", "") for _, parameters in scripted.requests)]
    everything = "\n".join(written)

    assert everything.count("social_sign_in_refused") == 2
    assert everything.count(f"POST {scripted.url}/token") == 4
    assert [secret for secret in secrets if secret and secret in everything] == []
