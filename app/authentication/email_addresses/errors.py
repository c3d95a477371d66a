"""Refusals to change an e-mail address."""

from __future__ import annotations

from app.core.errors import BadInput


class SameEmail(BadInput):
    """The new address is the current one."""

    code = "same_email"
    title = "This is the current e-mail. Send the new one."
    advice = "Send another address."
    field = "email"
