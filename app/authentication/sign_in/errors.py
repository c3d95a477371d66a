"""Refusals to sign a user in."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, Unauthenticated


class WrongEmailOrPassword(Unauthenticated):
    """Deliberately does not say which of the two was wrong."""

    code = "wrong_email_or_password"
    title = "The e-mail or the password is wrong."


class OrgRequired(Conflict):
    """E-mail and password match accounts in several organisations."""

    code = "org_required"
    title = "E-mail and password match accounts in several organisations: name one as `org`."


class WrongRole(Forbidden):
    """The operation is for users of another role kind."""

    code = "wrong_role"
    title = "This account has another role: use the sign-in of that role, or POST /auth/signin."


class AccountPending(Forbidden):
    """An admin has not approved the sign-up yet."""

    code = "account_pending"
    title = "This account waits for the approval of an admin of your organisation. You will get a mail."


class AccountRejected(Forbidden):
    """An admin rejected the sign-up."""

    code = "account_rejected"
    title = "An admin of your organisation has rejected this account: ask them if that was a mistake."


class AccountSuspended(Forbidden):
    """An admin suspended the account."""

    code = "account_suspended"
    title = "This account is suspended: an admin of your organisation can reactivate it."
