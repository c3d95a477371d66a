"""Errors about e-mail addresses."""

from __future__ import annotations

from app.core.errors import BadInput, Conflict


class SameEmail(BadInput):
    """The new address is the current one."""

    code = "same_email"
    title = "This is your current e-mail. Send another one."
    field = "email"


class AccountNotConfirmed(Conflict):
    """The request does not name the account that the link verifies the address for.

    Another person may have signed up with the address. Its owner must see whose account it is, before tickets for the
    address belong to that account.
    """

    code = "account_not_confirmed"
    title = (
        "Show the user whose account this is (POST /auth/email/lookup), and if they confirm that it is theirs, send "
        "its id as `account`."
    )
    advice = "Look the account up with `POST /auth/email/lookup`, and send its `account`."
