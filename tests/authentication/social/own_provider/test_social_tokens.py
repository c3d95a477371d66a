"""What a provider says is believed only once it is proved: against one that lies as it is told."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

from tests.accounts.crew import ok
from tests.authentication.social.openid import (
    CLIENT_ID,
    CLIENT_SECRET,
    Browser,
    OwnProvider,
    a_key,
    count,
    signed,
    unsigned,
)
from tests.desks import JSON
from tests.problems import refused

REFUSED = (403, "social_sign_in_refused")


def now() -> int:
    return int(time.time())


class TestClaims:
    @pytest.mark.parametrize(
        "lie",
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
        ids="-".join,  # their names: times would differ between the processes that run tests
    )
    async def test_a_wrong_one_is_refused_and_nobody_is_made(
        self, browser: Browser, own: OwnProvider, lie: JSON
    ) -> None:
        own.vouch(**lie)

        refused(await browser.sign_in(), *REFUSED)
        assert await count(browser.desk) == 1

    @pytest.mark.parametrize(
        "truth",
        [
            {"aud": [CLIENT_ID]},
            {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
            {"exp": now() + 3600, "iat": now() + 30},
            {"email_verified": "true"},
            {"email_verified": None, "xms_edov": True},
            {"email_verified": None, "xms_edov": 1},
        ],
        ids="-".join,  # their names: times would differ between the processes that run tests
    )
    async def test_what_may_be_said_in_another_way_is_accepted(
        self, browser: Browser, own: OwnProvider, truth: JSON
    ) -> None:
        sub = own.vouch(**truth)

        assert ok(await browser.sign_in())["user"]["email"] == f"{sub}@growfin.test"

    @pytest.mark.parametrize("vouched", [None, False, "false", "yes", [True], {}])
    async def test_an_email_is_verified_or_it_is_not(self, browser: Browser, own: OwnProvider, vouched: object) -> None:
        own.vouch(email_verified=vouched, xms_edov=vouched)

        refused(await browser.sign_in(), 403, "email_not_verified")

    async def test_the_longest_sub_and_hostile_names_are_fine(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch(sub="x" * 255, given_name="Mi\0a\u202e\n " + "x" * 500, family_name=["Stone"], name=7)
        user = ok(await browser.sign_in())["user"]

        assert user["firstName"] == ("Mia " + "x" * 500)[:100]
        assert user["lastName"] == ""


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.new(secret, message, hashlib.sha256).digest()


def rs256(key: RSAKey) -> Callable[[bytes], bytes]:
    private = key.private_key
    assert private is not None
    return lambda message: private.sign(message, PKCS1v15(), SHA256())


def by_another_key(claims: JSON, _: OwnProvider) -> str:
    return signed(claims, a_key("one"))


def by_a_key_of_the_tokens_own(claims: JSON, _: OwnProvider) -> str:
    key = a_key("mine")
    return signed(claims, key, jwk=key.as_dict(private=False))


def by_nobody(claims: JSON, _: OwnProvider) -> str:
    return unsigned(claims, {"alg": "none"})


def by_nobody_in_another_case(claims: JSON, _: OwnProvider) -> str:
    return unsigned(claims, {"alg": "nOnE", "kid": "one"})


def by_the_public_key_as_a_secret(claims: JSON, own: OwnProvider) -> str:
    return unsigned(claims, {"alg": "HS256", "kid": "one"}, hs256(own.key.as_pem(private=False)))


def by_the_clients_secret(claims: JSON, _: OwnProvider) -> str:
    return unsigned(claims, {"alg": "HS256"}, hs256(CLIENT_SECRET.encode()))


def with_other_claims(claims: JSON, own: OwnProvider) -> str:
    header, _, signature = signed(claims, own.key).split(".")
    return f"{header}.{unsigned({**claims, 'email': 'ada@growfin.test'}, {}).split('.')[1]}.{signature}"


def with_another_algorithm(claims: JSON, _: OwnProvider) -> str:
    return unsigned(claims, {"alg": "ES256", "kid": "one"}, lambda _: b"x" * 64)


def without_a_signature(claims: JSON, own: OwnProvider) -> str:
    return signed(claims, own.key).rpartition(".")[0] + "."


def with_what_must_be_understood(claims: JSON, own: OwnProvider) -> str:
    return unsigned(claims, {"alg": "RS256", "kid": "one", "crit": ["rule"], "rule": 1}, rs256(own.key))


def as_no_token(_claims: JSON, _: OwnProvider) -> str:
    return "no token"


def as_a_list(_: JSON, own: OwnProvider) -> str:
    return unsigned([1], {"alg": "RS256", "kid": "one"}, rs256(own.key))


FORGERIES = (
    by_another_key, by_a_key_of_the_tokens_own, by_nobody, by_nobody_in_another_case, by_the_public_key_as_a_secret,
    by_the_clients_secret, with_other_claims, with_another_algorithm, without_a_signature,
    with_what_must_be_understood, as_no_token, as_a_list,
)  # fmt: skip


class TestSignatures:
    @pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
    async def test_a_forged_token_is_refused(
        self, browser: Browser, own: OwnProvider, forge: Callable[[JSON, OwnProvider], str]
    ) -> None:
        own.vouch()
        own.sign = lambda claims: forge(claims, own)

        refused(await browser.sign_in(), *REFUSED)
        assert await count(browser.desk) == 1
        own.sign = None
        ok(await browser.sign_in())

    async def test_the_forgers_would_succeed_with_the_right_key(self, browser: Browser, own: OwnProvider) -> None:
        own.vouch()
        own.sign = lambda claims: unsigned(claims, {"alg": "RS256", "kid": "one"}, rs256(own.key))

        ok(await browser.sign_in())

    async def test_a_shared_secret_is_not_accepted_even_where_it_is_all_there_is(
        self, fresh: Browser, own: OwnProvider
    ) -> None:
        own.metadata = {"id_token_signing_alg_values_supported": ["HS256", "none"]}
        own.vouch()
        own.sign = lambda claims: by_the_clients_secret(claims, own)

        refused(await fresh.sign_in(), *REFUSED)

    async def test_an_algorithm_that_the_provider_does_not_name_is_refused(
        self, fresh: Browser, own: OwnProvider
    ) -> None:
        own.metadata = {"id_token_signing_alg_values_supported": ["PS256"]}
        own.vouch()

        refused(await fresh.sign_in(), *REFUSED)

    async def test_a_new_key_is_looked_up_once(self, fresh: Browser, own: OwnProvider) -> None:
        own.vouch()
        ok(await fresh.sign_in())
        ok(await fresh.sign_in())
        assert own.times_asked("/keys") == 1

        own.key = a_key("two")
        own.published = [own.key]
        ok(await fresh.sign_in())
        assert own.times_asked("/keys") == 2
        own.key = a_key("three")  # which is not published
        refused(await fresh.sign_in(), *REFUSED)
        assert own.times_asked("/keys") == 3

    async def test_keys_that_are_none_are_refused(self, fresh: Browser, own: OwnProvider) -> None:
        own.vouch()
        own.published = []

        refused(await fresh.sign_in(), *REFUSED)
