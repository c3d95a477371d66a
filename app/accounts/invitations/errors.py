"""What can go wrong with invitations."""

from __future__ import annotations

from app.core.errors import Conflict


class NotInvited(Conflict):
    """The user has no open invitation, since they have an account already."""

    code = "not_invited"
    title = "This user has no open invitation: they have an account already."
    advice = "There is nothing to repeat or to withdraw."
