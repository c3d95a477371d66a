"""What can go wrong with invitations."""

from __future__ import annotations

from app.core.errors import Conflict


class NotInvited(Conflict):
    """The user's account has no open invitation."""

    code = "not_invited"
    title = "This user has no open invitation: they have an account already."
