"""Errors about invitations."""

from __future__ import annotations

from app.core.errors import Conflict


class NotInvited(Conflict):
    """The user has no open invitation."""

    code = "not_invited"
    title = "This user has no open invitation. Read their status with GET /users/{id}."
