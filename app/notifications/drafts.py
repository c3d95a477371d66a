"""Drafts of mails, written from templates.

A mail is written when it is queued, so that the log shows what was said. A mail that cannot be written is queued as
failed and holds up no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from app.access.tenant import Tenant
from app.notifications.mails import MailDraft
from app.notifications.rendering import ContextValue, render

ERROR_LENGTH = 300  # characters

log = structlog.get_logger("tessera.notifications")


def draft(
    organisation: Tenant,
    template: str,
    recipient: str,
    context: Mapping[str, ContextValue],
    *,
    subject: str,
    ticket_id: UUID | None = None,
    user_id: UUID | None = None,
    author_id: UUID | None = None,
    link: str | None = None,
    link_id: UUID | None = None,
) -> MailDraft:
    """Write a mail of the organisation; if that is not possible, return a failed draft that says why.

    Args:
        context: what the template needs besides the organisation. Times are shown in the organisation's time zone.
        subject: used only where the mail cannot be written.
        user_id: the user whose account the mail is written to, if it is written to one.
        author_id: the user whom the mail names.
        link: where the mail's link leads; the channel completes it with the token of `link_id`.
    """
    about = {"organisation": organisation.name, "support_email": organisation.support_email}
    make = partial(
        MailDraft,
        recipient=recipient,
        reply_to=organisation.support_email,
        ticket_id=ticket_id,
        user_id=user_id,
        author_id=author_id,
        link=link,
        link_id=link_id,
    )
    try:
        mail = render(template, about | _localise(organisation, context))
    except Exception as error:
        log.exception("mail_not_rendered", template=template, org_id=str(organisation.id))
        reason = f"The mail could not be written: {type(error).__name__}: {error}"[:ERROR_LENGTH]
        return make(subject=subject, error=reason)
    return make(subject=mail.subject, text=mail.text, html=mail.html)


def _localise(organisation: Tenant, context: Mapping[str, ContextValue]) -> dict[str, ContextValue]:
    """Convert the times of a context to the organisation's time zone."""
    zone = ZoneInfo(organisation.timezone)
    return {name: value.astimezone(zone) if isinstance(value, datetime) else value for name, value in context.items()}
