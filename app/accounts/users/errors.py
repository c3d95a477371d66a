"""What can go wrong with users."""

from __future__ import annotations

from collections.abc import Mapping

from app.accounts.users.rules import AccountStatus
from app.core.errors import BadInput, Conflict, NotFound


class UserNotFound(NotFound):
    """No user of the organisation has this id, or the user was erased."""

    code = "user_not_found"
    title = "There is no such user."


class EmailTaken(Conflict):
    """Another user of the organisation has this e-mail."""

    code = "email_taken"
    title = "Another user of this organisation has this e-mail."


class WeakPassword(BadInput):
    """The password is easily guessed."""

    code = "weak_password"
    title = "This password is easily guessed."


class CustomerNotAvailable(BadInput):
    """Tickets are not assigned to customers."""

    code = "customer_not_available"
    title = "A customer cannot be available: tickets are assigned to admins and engineers."
    field = "available"


class LastAdmin(Conflict):
    """The organisation would have no full admin left, who can grant every permission."""

    code = "last_admin"
    title = (
        "This is the organisation's last active admin of the built-in role Admin with nothing denied: "
        "make another user such an admin first."
    )


class NotPending(Conflict):
    """The account does not wait for approval."""

    code = "not_pending"
    title = "This account does not wait for approval."


class NotActiveYet(Conflict):
    """The account was never active, so it can be neither suspended nor reactivated."""

    code = "not_active_yet"
    title = "This account is not active yet: approve it first, or wait until its user accepts the invitation."

    def __init__(self, status: str) -> None:
        super().__init__(_NOT_ACTIVE_YET[status])


_NOT_ACTIVE_YET: Mapping[str, str] = {
    AccountStatus.PENDING: (
        "This account waits for approval: use POST /users/{id}/approve or POST /users/{id}/reject."
    ),
    AccountStatus.REJECTED: "This account was rejected: POST /users/{id}/approve makes it active after all.",
    AccountStatus.INVITED: "The invitation is still open: the account becomes active when its user accepts it.",
}
