"""Errors about e-mail addresses."""

from __future__ import annotations

from app.core.errors import BadInput


class SameEmail(BadInput):
    """The new address is the current one."""

    code = "same_email"
    title = "This is your current e-mail. Send another one."
    field = "email"
