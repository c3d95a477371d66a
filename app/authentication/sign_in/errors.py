"""Errors about sign-ins."""

from __future__ import annotations

from app.core.errors import Conflict, Forbidden, Unauthenticated


class WrongEmailOrPassword(Unauthenticated):
    """The e-mail or the password is wrong. The response deliberately does not say which."""

    code = "wrong_email_or_password"
    title = "The e-mail or the password is wrong. Try again, or set a new password with POST /auth/password/forgot."


class OrgRequired(Conflict):
    """E-mail and password match accounts in several organisations."""

    code = "org_required"
    title = "E-mail and password match accounts in several organisations: name one as `org`."
    advice = "Send the domain of one as `org`."


class WrongRole(Forbidden):
    """The account has another role kind than this sign-in is for."""

    code = "wrong_role"
    title = "This account has another role kind: use the sign-in for that kind, or POST /auth/signin."


class AccountPending(Forbidden):
    """An admin of the organisation has not approved the sign-up yet."""

    code = "account_pending"
    title = "This account waits for the approval of an admin of your organisation. You will get a mail."
    advice = "The user gets a mail when it is approved."


class AccountRejected(Forbidden):
    """An admin of the organisation rejected the sign-up."""

    code = "account_rejected"
    title = "An admin of your organisation has rejected this account: ask them if that was a mistake."


class AccountSuspended(Forbidden):
    """An admin of the organisation suspended the account."""

    code = "account_suspended"
    title = "This account is suspended: an admin of your organisation can reactivate it."
