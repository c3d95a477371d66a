"""What is taken from claims, and what a cookie keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.access.permissions import RoleKind
from app.authentication.social.rules import NotIdentified, algorithms_of, completed, identity_of, names_of
from app.authentication.social.state import Pending, StateMismatch, cookie_name
from tests.desks import JSON

KEY = "a-key-that-only-this-test-has-0123456789"
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"given_name": "Mia", "family_name": "Stone", "name": "Somebody Else"}, ("Mia", "Stone")),
        ({"given_name": " Mia \n Ann ", "family_name": "Sto\u200bne"}, ("Mia Ann", "Stone")),
        ({"given_name": "Mia"}, ("Mia", "")),
        ({"family_name": "Stone"}, ("Stone", "")),
        ({"name": "Mia Ann Stone"}, ("Mia", "Ann Stone")),
        ({"name": "\u0000\u202e"}, ("mia", "stone")),
        ({"name": 7, "given_name": None, "family_name": ["x"]}, ("mia", "stone")),
        ({}, ("mia", "stone")),
        ({"given_name": "x" * 500, "family_name": "y" * 500}, ("x" * 100, "y" * 100)),
    ],
)
def test_somebody_is_called_as_the_provider_says_or_as_their_mailbox(claims: JSON, names: tuple[str, str]) -> None:
    assert names_of(claims, "mia.stone@growfin.test") == names


@pytest.mark.parametrize(
    ("email", "names"),
    [("mia@growfin.test", ("mia", "")), ("_@growfin.test", ("_", "")), ("m_x-y+z@growfin.test", ("m", "x y z"))],
)
def test_a_mailbox_is_always_a_name(email: str, names: tuple[str, str]) -> None:
    assert names_of({}, email) == names


def test_an_email_counts_as_the_provider_writes_it_but_normalised() -> None:
    said = {"sub": "1", "email": " Mia@GROWFIN.test ", "email_verified": True}

    assert identity_of(said).email == "mia@growfin.test"
    assert identity_of({**said, "email": "mia@"}).email is None
    assert identity_of({**said, "email": ["mia@growfin.test"]}).email is None
    assert identity_of({**said, "email_verified": False}).email is None


def test_only_what_was_said_of_an_email_counts_for_it() -> None:
    said = completed({"sub": "1", "email_verified": True, "name": "Mia"}, {"sub": "1", "email": "mia@growfin.test"})

    assert said == {"sub": "1", "name": "Mia", "email": "mia@growfin.test"}
    with pytest.raises(NotIdentified):
        completed({"sub": "1"}, {"sub": "2"})
    with pytest.raises(NotIdentified):
        completed({"sub": "1"}, {})


def test_no_algorithm_with_a_shared_secret_is_ever_accepted() -> None:
    assert algorithms_of(["none", "HS256", "ES256", "RS256"]) == ["RS256", "ES256"]
    with pytest.raises(NotIdentified):
        algorithms_of(["none", "HS256", "rs256"])


class TestWhatACookieKeeps:
    def test_it_comes_back_as_it_was_for_ten_minutes(self) -> None:
        pending = Pending.begin("growfin.test", RoleKind.ENGINEER, NOW, remember=True)
        value = pending.sealed(KEY, "google")
        late = NOW + timedelta(minutes=10)

        assert Pending.opened(KEY, "google", value, pending.state, late - timedelta(seconds=1)) == pending
        with pytest.raises(StateMismatch):
            Pending.opened(KEY, "google", value, pending.state, late)

    @pytest.mark.parametrize("value", [None, "", "=", "ä", "A", "A" * 400])
    def test_anything_else_is_refused(self, value: str | None) -> None:
        with pytest.raises(StateMismatch):
            Pending.opened(KEY, "google", value, "a" * 32, NOW)

    def test_it_is_for_one_provider_one_key_and_one_state(self) -> None:
        pending = Pending.begin("growfin.test", RoleKind.CUSTOMER, NOW, remember=False)
        value = pending.sealed(KEY, "google")
        for key, provider, state in (
            (f"{KEY}0", "google", pending.state),
            (KEY, "okta", pending.state),
            (KEY, "google", pending.state[:-1] + "!"),
            (KEY, "google", ""),
        ):
            with pytest.raises(StateMismatch):
                Pending.opened(key, provider, value, state, NOW)

    def test_it_tells_nothing_and_is_never_the_same(self) -> None:
        first, second = (Pending.begin("growfin.test", RoleKind.CUSTOMER, NOW, remember=False) for _ in range(2))

        assert len({first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}) == 6
        assert first.sealed(KEY, "google") != first.sealed(KEY, "google")
        assert first.verifier not in first.sealed(KEY, "google")
        assert cookie_name("google", first.state) != cookie_name("google", second.state)
