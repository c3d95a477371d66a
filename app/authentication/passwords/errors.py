"""Errors about passwords."""

from __future__ import annotations

from app.core.errors import BadInput


class SamePassword(BadInput):
    """The new password is the current one."""

    code = "same_password"
    title = "This is the current password: choose another."
    field = "newPassword"
