"""Errors about passwords."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict


class NoPassword(Conflict):
    """The user signs in at a provider and has no password."""

    code = "no_password"
    title = "This account has no password yet: set one with POST /auth/password/forgot."


class SamePassword(BadInput):
    """The new password is the current one."""

    code = "same_password"
    title = "This is the current password: choose another."
    field = "newPassword"
