"""Weak passwords are recognised."""

from __future__ import annotations

import pytest

from app.core.security.password_strength import find_password_weakness


@pytest.mark.parametrize(
    "password",
    ["password", "PASSWORD1", "12345678", "qwertyuiop", "iloveyou", "aaaaaaaaaaaa", "abababababab", "letmein1"],
)
def test_common_passwords_are_weak(password: str) -> None:
    assert find_password_weakness(password)


@pytest.mark.parametrize(
    "password",
    [
        "growfin1",
        "GrowFin!",
        "123growfin",
        "growfin.com",
        "ada.byron@growfin.com",
        "Ada.Byron1",
        "xLovelace9",
        " Growfin  ",
        "G.r.o.w.f.i.n",
    ],
)
def test_passwords_close_to_known_names_are_weak(password: str) -> None:
    assert find_password_weakness(password, "ada.byron@growfin.com", "Growfin", "growfin.com", "Ada", "Lovelace")


@pytest.mark.parametrize("password", ["cobalt-heron-47-lamp", "growfin has 3 lamps", "наш пароль 7", "🦩🪔🐢🌵 ok?"])
def test_other_passwords_are_accepted(password: str) -> None:
    assert find_password_weakness(password, "ada@growfin.com", "Growfin", "growfin.com", "Ada", "Lovelace") is None
