"""Refusals that several ways to prove who a user is have in common."""

from __future__ import annotations

from app.core.errors import Forbidden


class WrongPassword(Forbidden):
    """The current password is a different one.

    Not a 401, because clients sign their user out at a 401.
    """

    code = "wrong_password"
    title = "The password is wrong. Send the current one, or set a new one with POST /auth/password/forgot."
    advice = "Send the current one, or set a new one with `POST /auth/password/forgot`."
