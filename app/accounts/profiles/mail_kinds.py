"""The kinds of mail that users can turn off."""

from __future__ import annotations

from enum import StrEnum


class MailKind(StrEnum):
    """A kind of mail that users can mute. Mails about their account's safety and requested links are always sent."""

    TICKET_ASSIGNED = "TICKET_ASSIGNED"  # to the assignee
    TICKET_RESPONDED = "TICKET_RESPONDED"  # to the requester
    TICKET_CLOSING_SOON = "TICKET_CLOSING_SOON"  # to the requester
    SIGN_UP_REQUESTS = "SIGN_UP_REQUESTS"  # to admins
