"""Every combination of name claims gives a user whose profile can be sent back."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from app.accounts.users.fields import FirstName, LastName
from app.authentication.social.rules import parse_identity, parse_names
from tests.accounts.users_and_roles import ok
from tests.authentication.social.openid import Browser, create_provider_account

CLAIMS = ("name", "given_name", "family_name", "nickname", "preferred_username")
FIRST, LAST = TypeAdapter(FirstName), TypeAdapter(LastName)
_PARTS = [
    "Mia", "Stone", " ", "\n", "\0", "\u200b", "\u202e", "\ufeff", "\u0301", "\ud800", "://", "\uff1a\uff0f\uff0f", "@",
    "mia.com", ".io/", "_", "x" * 99, "\U0001f469\u200d\U0001f680", "山田", "\u3000",
]  # fmt: skip
names = st.one_of(
    st.text(max_size=120),
    st.lists(st.sampled_from(_PARTS), max_size=6).map("".join),
    st.none(),
    st.integers(),
    st.lists(st.text(), max_size=2),
    st.dictionaries(st.text(), st.text(), max_size=1),
)
local_parts = st.sampled_from(["mia.stone", "_", "___", "+", "-.-", "x" * 64, "\u0301", ""])


@given(
    claims=st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMS, names)),
    local=st.one_of(local_parts, st.text(max_size=64)),
)
def test_all_claims_give_names_that_a_profile_takes(claims: dict[str, Any], local: str) -> None:
    first, last = parse_names(claims, f"{local}@growfin.test")
    assert (FIRST.validate_python(first), LAST.validate_python(last)) == (first, last)


def test_each_subset_of_the_claims_has_a_name() -> None:
    values = {
        "name": "Mia Ann Stone", "given_name": "Mia", "family_name": "Stone", "nickname": "Mimi",
        "preferred_username": "mstone",
    }  # fmt: skip
    for count in range(len(CLAIMS) + 1):
        for chosen in itertools.combinations(CLAIMS, count):
            names = parse_names({name: values[name] for name in chosen}, "m.s@growfin.test")
            if {"given_name", "family_name"} <= set(chosen):
                assert names == ("Mia", "Stone")
            elif "given_name" in chosen:
                assert names == ("Mia", "")
            elif "family_name" in chosen:
                assert names == ("Stone", "")
            elif "name" in chosen:
                assert names == ("Mia", "Ann Stone")
            else:
                other = {"nickname": ("Mimi", ""), "preferred_username": ("mstone", "")}
                assert names == next((other[name] for name in chosen), ("m", "s"))


def test_a_user_name_that_is_an_e_mail_address_is_no_name() -> None:
    assert parse_names({"preferred_username": "boss@evil.test"}, "mia.stone@growfin.test") == ("mia", "stone")
    assert parse_identity({"sub": "1", "nickname": "Mimi"}).first_name == "Mimi"


async def test_profiles_of_new_users_can_be_sent_back_unchanged(browser: Browser, issuer: str) -> None:
    cases: list[dict[str, object]] = [
        {},
        {"name": "Madonna"},
        {"family_name": "山田"},
        {"given_name": "", "family_name": " ", "name": "\u202e"},
        {"given_name": "\u0301", "nickname": "\ufeff Mimi\n"},
        {"given_name": "x" * 300, "family_name": "https://evil.example"},
        {"name": {"formatted": "Mia"}, "given_name": 7, "preferred_username": ["x"]},
    ]
    for claims in cases:
        body = ok(await browser.sign_in(await create_provider_account(issuer, **claims)))
        headers = {"Authorization": f"Bearer {body['accessToken']}"}
        profile = ok(await browser.tessera.get("/me", headers=headers))
        assert profile["firstName"]
        assert ok(await browser.tessera.patch("/me", json=profile, headers=headers)) == profile
