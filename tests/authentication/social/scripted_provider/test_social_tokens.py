"""Validation of ID tokens, against a scripted provider that forges them."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

from tests.accounts.users_and_roles import ok
from tests.authentication.social.openid import (
    CLIENT_ID,
    CLIENT_SECRET,
    Browser,
    ScriptedProvider,
    build_token,
    count_users,
    create_key,
    sign_token,
)
from tests.organisation_client import JSON
from tests.problems import assert_problem

REFUSED = (403, "social_sign_in_refused")


def now() -> int:
    return int(time.time())


class TestClaims:
    @pytest.mark.parametrize(
        "overrides",
        [
            {"nonce": "another"},
            {"nonce": None},
            {"aud": "another"},
            {"aud": None},
            {"aud": []},
            {"aud": [CLIENT_ID, "another"]},
            {"aud": [CLIENT_ID, "another"], "azp": "another"},
            {"azp": "another"},
            {"iss": "https://accounts.google.com"},
            {"iss": None},
            {"exp": now() - 61},
            {"exp": None},
            {"exp": "tomorrow"},
            {"iat": now() + 86_400},
            {"iat": None},
            {"nbf": now() + 86_400},
            {"at_hash": "AAAA"},
            {"sub": None},
            {"sub": ""},
            {"sub": 7},
            {"sub": "x" * 256},
            {"sub": "x\0"},
        ],
        ids="-".join,  # the names of the claims: times would differ between test processes
    )
    async def test_an_invalid_claim_is_refused_and_no_user_is_created(
        self, browser: Browser, scripted: ScriptedProvider, overrides: JSON
    ) -> None:
        scripted.set_identity(**overrides)

        assert_problem(await browser.sign_in(), *REFUSED)
        assert await count_users(browser.desk) == 1

    @pytest.mark.parametrize(
        "overrides",
        [
            {"aud": [CLIENT_ID]},
            {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
            {"exp": now() + 3600, "iat": now() + 30},
            {"email_verified": "true"},
            {"email_verified": None, "xms_edov": True},
            {"email_verified": None, "xms_edov": 1},
        ],
        ids="-".join,  # the names of the claims: times would differ between test processes
    )
    async def test_alternative_valid_claims_are_accepted(
        self, browser: Browser, scripted: ScriptedProvider, overrides: JSON
    ) -> None:
        sub = scripted.set_identity(**overrides)

        assert ok(await browser.sign_in())["user"]["email"] == f"{sub}@growfin.test"

    @pytest.mark.parametrize("verified", [None, False, "false", "yes", [True], {}])
    async def test_other_values_of_email_verified_are_rejected(
        self, browser: Browser, scripted: ScriptedProvider, verified: object
    ) -> None:
        scripted.set_identity(email_verified=verified, xms_edov=verified)

        assert_problem(await browser.sign_in(), 403, "email_not_verified")

    async def test_long_subs_and_hostile_names_are_accepted(self, browser: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity(sub="x" * 255, given_name="Mi\0a\u202e\n " + "x" * 500, family_name=["Stone"], name=7)
        user = ok(await browser.sign_in())["user"]

        assert user["firstName"] == ("Mia " + "x" * 500)[:100]
        assert user["lastName"] == ""


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def rs256(key: RSAKey) -> Callable[[bytes], bytes]:
    private = key.private_key
    assert private is not None
    return lambda message: private.sign(message, PKCS1v15(), SHA256())


def signed_by_another_key(claims: JSON, _: ScriptedProvider) -> str:
    return sign_token(claims, create_key("one"))


def signed_by_an_embedded_key(claims: JSON, _: ScriptedProvider) -> str:
    key = create_key("mine")
    return sign_token(claims, key, jwk=key.as_dict(private=False))


def unsigned(claims: JSON, _: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "none"})


def unsigned_with_other_case(claims: JSON, _: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "nOnE", "kid": "one"})


def signed_with_the_public_key_as_secret(claims: JSON, scripted: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "HS256", "kid": "one"}, hs256(scripted.key.as_pem(private=False)))


def signed_with_the_client_secret(claims: JSON, _: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "HS256"}, hs256(CLIENT_SECRET.encode()))


def with_replaced_claims(claims: JSON, scripted: ScriptedProvider) -> str:
    header, _, signature = sign_token(claims, scripted.key).split(".")
    return f"{header}.{build_token({**claims, 'email': 'ada@growfin.test'}, {}).split('.')[1]}.{signature}"


def with_another_algorithm(claims: JSON, _: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "ES256", "kid": "one"}, lambda _: b"x" * 64)


def without_a_signature(claims: JSON, scripted: ScriptedProvider) -> str:
    return sign_token(claims, scripted.key).rpartition(".")[0] + "."


def with_an_unknown_critical_header(claims: JSON, scripted: ScriptedProvider) -> str:
    return build_token(claims, {"alg": "RS256", "kid": "one", "crit": ["rule"], "rule": 1}, rs256(scripted.key))


def not_a_token(_claims: JSON, _: ScriptedProvider) -> str:
    return "no token"


def with_a_list_of_claims(_: JSON, scripted: ScriptedProvider) -> str:
    return build_token([1], {"alg": "RS256", "kid": "one"}, rs256(scripted.key))


FORGERIES = (
    signed_by_another_key, signed_by_an_embedded_key, unsigned, unsigned_with_other_case,
    signed_with_the_public_key_as_secret, signed_with_the_client_secret, with_replaced_claims,
    with_another_algorithm,
    without_a_signature,
    with_an_unknown_critical_header, not_a_token, with_a_list_of_claims,
)  # fmt: skip


class TestSignatures:
    @pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
    async def test_a_forged_token_is_refused(
        self, browser: Browser, scripted: ScriptedProvider, forge: Callable[[JSON, ScriptedProvider], str]
    ) -> None:
        scripted.set_identity()
        scripted.sign_override = lambda claims: forge(claims, scripted)

        assert_problem(await browser.sign_in(), *REFUSED)
        assert await count_users(browser.desk) == 1
        scripted.sign_override = None
        ok(await browser.sign_in())

    async def test_a_hand_built_token_with_the_right_key_is_accepted(
        self, browser: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        scripted.sign_override = lambda claims: build_token(claims, {"alg": "RS256", "kid": "one"}, rs256(scripted.key))

        ok(await browser.sign_in())

    async def test_hs256_is_refused_even_if_nothing_else_is_supported(
        self, fresh: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.metadata = {"id_token_signing_alg_values_supported": ["HS256", "none"]}
        scripted.set_identity()
        scripted.sign_override = lambda claims: signed_with_the_client_secret(claims, scripted)

        assert_problem(await fresh.sign_in(), *REFUSED)

    async def test_an_algorithm_missing_in_the_metadata_is_refused(
        self, fresh: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.metadata = {"id_token_signing_alg_values_supported": ["PS256"]}
        scripted.set_identity()

        assert_problem(await fresh.sign_in(), *REFUSED)

    async def test_an_unknown_key_refreshes_the_keys_once(self, fresh: Browser, scripted: ScriptedProvider) -> None:
        scripted.set_identity()
        ok(await fresh.sign_in())
        ok(await fresh.sign_in())
        assert scripted.count_requests("/keys") == 1

        scripted.key = create_key("two")
        scripted.published = [scripted.key]
        ok(await fresh.sign_in())
        assert scripted.count_requests("/keys") == 2
        scripted.key = create_key("three")  # not published
        assert_problem(await fresh.sign_in(), *REFUSED)
        assert scripted.count_requests("/keys") == 3

    async def test_a_token_is_refused_if_no_keys_are_published(
        self, fresh: Browser, scripted: ScriptedProvider
    ) -> None:
        scripted.set_identity()
        scripted.published = []

        assert_problem(await fresh.sign_in(), *REFUSED)
