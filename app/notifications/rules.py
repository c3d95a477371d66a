"""The rules of the notification log, as pure functions: which texts of a mail a user may read there.

The log must show no text that the user cannot read where it comes from.
"""

from __future__ import annotations

from app.access.user_permissions import Action, Permissions, Resource, permission

_VIEWS_TICKETS = permission(Resource.TICKETS, Action.VIEW)
_VIEWS_COMMENTS = permission(Resource.COMMENTS, Action.VIEW)
_VIEWS_USERS = permission(Resource.USERS, Action.VIEW)


def shows_subject(permissions: Permissions, *, about_ticket: bool) -> bool:
    """Return whether a user may read the subject: that of a mail about a ticket holds the ticket's title."""
    return not about_ticket or _VIEWS_TICKETS in permissions


def shows_body(permissions: Permissions, *, about_ticket: bool) -> bool:
    """Return whether a user may read the text: of a reply, of a ticket's description, or about a user's account."""
    if about_ticket:
        return permissions >= {_VIEWS_TICKETS, _VIEWS_COMMENTS}
    return _VIEWS_USERS in permissions


def hide_title(subject: str) -> str:
    """Return the reference of a subject such as `[GROWFIN-42] Cannot export March`, without the title."""
    reference, bracket, _ = subject.partition("]")
    return reference + bracket if subject.startswith("[") and bracket else ""
