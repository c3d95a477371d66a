"""The rules for claims, and the encrypted cookie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.access.user_permissions import RoleKind
from app.authentication.social.errors import IdentificationFailed, StateMismatch
from app.authentication.social.rules import (
    accepted_algorithms,
    merge_userinfo,
    parse_identity,
    parse_names,
)
from app.authentication.social.state import PendingSignIn, cookie_name
from tests.organisation_client import JSON

KEY = "a-key-that-only-this-test-has-0123456789"
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"given_name": "Mia", "family_name": "Stone", "name": "Someone Else"}, ("Mia", "Stone")),
        ({"given_name": " Mia \n Ann ", "family_name": "Sto\u200bne"}, ("Mia Ann", "Stone")),
        ({"given_name": "Mia"}, ("Mia", "")),
        ({"given_name": "Mia", "family_name": "https://evil.example"}, ("Mia", "")),
        ({"family_name": "Stone"}, ("Stone", "")),
        ({"name": "Mia Ann Stone"}, ("Mia", "Ann Stone")),
        ({"name": "\u0000\u202e"}, ("mia", "stone")),
        ({"name": 7, "given_name": None, "family_name": ["x"]}, ("mia", "stone")),
        ({}, ("mia", "stone")),
        ({"given_name": "x" * 500, "family_name": "y" * 500}, ("x" * 100, "y" * 100)),
    ],
)
def test_names_come_from_the_claims_or_the_email(claims: JSON, names: tuple[str, str]) -> None:
    assert parse_names(claims, "mia.stone@growfin.test") == names


@pytest.mark.parametrize(
    ("email", "names"),
    [("mia@growfin.test", ("mia", "")), ("_@growfin.test", ("_", "")), ("m_x-y+z@growfin.test", ("m", "x y z"))],
)
def test_every_email_gives_a_name(email: str, names: tuple[str, str]) -> None:
    assert parse_names({}, email) == names


def test_a_verified_email_is_normalised() -> None:
    claims = {"sub": "1", "email": " Mia@GROWFIN.test ", "email_verified": True}

    assert parse_identity(claims).email == "mia@growfin.test"
    assert parse_identity({**claims, "email": "mia@"}).email is None
    assert parse_identity({**claims, "email": ["mia@growfin.test"]}).email is None
    assert parse_identity({**claims, "email_verified": False}).email is None


def test_verification_claims_do_not_apply_to_a_merged_email() -> None:
    merged = merge_userinfo(
        {"sub": "1", "email_verified": True, "name": "Mia"}, {"sub": "1", "email": "mia@growfin.test"}
    )

    assert merged == {"sub": "1", "name": "Mia", "email": "mia@growfin.test"}
    with pytest.raises(IdentificationFailed):
        merge_userinfo({"sub": "1"}, {"sub": "2"})
    with pytest.raises(IdentificationFailed):
        merge_userinfo({"sub": "1"}, {})


def test_symmetric_algorithms_are_never_accepted() -> None:
    assert accepted_algorithms(["none", "HS256", "ES256", "RS256"]) == ["RS256", "ES256"]
    with pytest.raises(IdentificationFailed):
        accepted_algorithms(["none", "HS256", "rs256"])


class TestCookie:
    def test_a_cookie_is_valid_for_ten_minutes(self) -> None:
        pending = PendingSignIn.begin("growfin.test", RoleKind.ENGINEER, NOW, remember=True)
        value = pending.seal(KEY, "google")
        late = NOW + timedelta(minutes=10)

        assert PendingSignIn.unseal(KEY, "google", value, pending.state, late - timedelta(seconds=1)) == pending
        with pytest.raises(StateMismatch):
            PendingSignIn.unseal(KEY, "google", value, pending.state, late)

    @pytest.mark.parametrize("value", [None, "", "=", "ä", "A", "A" * 400])
    def test_an_invalid_cookie_is_rejected(self, value: str | None) -> None:
        with pytest.raises(StateMismatch):
            PendingSignIn.unseal(KEY, "google", value, "a" * 32, NOW)

    def test_a_cookie_is_bound_to_provider_key_and_state(self) -> None:
        pending = PendingSignIn.begin("growfin.test", RoleKind.CUSTOMER, NOW, remember=False)
        value = pending.seal(KEY, "google")
        for key, provider, state in (
            (f"{KEY}0", "google", pending.state),
            (KEY, "okta", pending.state),
            (KEY, "google", pending.state[:-1] + "!"),
            (KEY, "google", ""),
        ):
            with pytest.raises(StateMismatch):
                PendingSignIn.unseal(key, provider, value, state, NOW)

    def test_a_cookie_is_encrypted_and_unique(self) -> None:
        first, second = (PendingSignIn.begin("growfin.test", RoleKind.CUSTOMER, NOW, remember=False) for _ in range(2))

        assert len({first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}) == 6
        assert first.seal(KEY, "google") != first.seal(KEY, "google")
        assert first.verifier not in first.seal(KEY, "google")
        assert cookie_name("google", first.state) != cookie_name("google", second.state)
