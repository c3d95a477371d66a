"""The mails that users may do without."""

from __future__ import annotations

from enum import StrEnum


class MailKind(StrEnum):
    """What a user can mute. What concerns the safety of their account, or has a link they asked for, always comes."""

    TICKET_ASSIGNED = "TICKET_ASSIGNED"  # to the assignee
    TICKET_ANSWERED = "TICKET_ANSWERED"  # to the requester
    TICKET_CLOSING_SOON = "TICKET_CLOSING_SOON"  # to the requester
    SIGN_UP_REQUESTS = "SIGN_UP_REQUESTS"  # to admins
