"""Errors about users."""

from __future__ import annotations

from collections.abc import Mapping

from app.accounts.users.rules import AccountStatus
from app.core.errors import BadInput, Conflict, Forbidden, NotFound


class UserNotFound(NotFound):
    """Your organisation has no user with this id, or the user was erased."""

    code = "user_not_found"
    title = "There is no such user."
    advice = "`GET /users` lists the users."


class EmailTaken(Conflict):
    """Another user of the organisation has this e-mail."""

    code = "email_taken"
    title = "Another user of this organisation has this e-mail. Use another address."
    advice = "Use another address, or follow `detail`: it says so if the other user never confirmed the e-mail."


class EmailNotVerified(Forbidden):
    """The e-mail is not verified at the provider, or not in Tessera: the account may not be its owner's."""

    code = "email_not_verified"
    title = "The e-mail is not verified."
    advice = "`detail` says whether to verify it at the provider or in Tessera, and how."


class WeakPassword(BadInput):
    """The password is easily guessed."""

    code = "weak_password"
    title = "This password is easily guessed. Choose another."
    advice = "Choose one that is neither common nor close to a name."


class CustomerNotAvailable(BadInput):
    """Tickets are assigned only to admins and engineers, so a customer cannot be available."""

    code = "customer_not_available"
    title = "A customer cannot be available: tickets are assigned only to admins and engineers."
    advice = "Leave `available` out."
    field = "available"


class LastAdmin(Conflict):
    """The organisation would have no full admin left. Only a full admin can grant every permission."""

    code = "last_admin"
    title = (
        "This is the organisation's last full admin (active, with the built-in role Admin and no denied permissions). "
        "Make another user a full admin first."
    )
    advice = "Make another user a full admin first: active, with the built-in role Admin and no denied permissions."


class NotPending(Conflict):
    """The account is not waiting for approval, so it can be neither approved nor rejected."""

    code = "not_pending"
    title = "This account is not waiting for approval: PATCH /users/{id} suspends or reactivates it."


class NotActiveYet(Conflict):
    """The account was never active, so it can be neither suspended nor reactivated."""

    code = "not_active_yet"
    title = "This account is not active yet: approve it first, or wait until its user accepts the invitation."

    def __init__(self, status: str) -> None:
        super().__init__(_NOT_ACTIVE_YET[status])


_NOT_ACTIVE_YET: Mapping[str, str] = {
    AccountStatus.PENDING: (
        "This account is waiting for approval: use POST /users/{id}/approve or POST /users/{id}/reject."
    ),
    AccountStatus.REJECTED: "This account was rejected: use POST /users/{id}/approve to approve it now.",
    AccountStatus.INVITED: "The invitation is still open: the account becomes active when its user accepts it.",
}
