"""Errors that several ways to authenticate share."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden


class WrongPassword(Forbidden):
    """The current password is wrong.

    Not a 401, because clients sign their user out when they get a 401.
    """

    code = "wrong_password"
    title = "The password is wrong. Send the current one, or set a new one with POST /auth/password/forgot."


class NoPassword(Conflict):
    """The user signs in at a provider and has no password."""

    code = "no_password"
    title = "This account has no password yet: set one with POST /auth/password/forgot."
