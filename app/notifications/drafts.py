"""Drafts of mails, written from templates.

A mail is rendered when it is queued, so that the log shows its text. A mail that cannot be rendered is stored as failed
and does not stop the others.
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

MAX_ERROR_LENGTH = 300  # characters

log = structlog.get_logger("tessera.notifications")


def write_draft(
    organisation: Tenant,
    template: str,
    recipient: str,
    context: Mapping[str, ContextValue],
    *,
    fallback_subject: str,
    ticket_id: UUID | None = None,
    user_id: UUID | None = None,
    author_id: UUID | None = None,
    link: str | None = None,
    link_id: UUID | None = None,
) -> MailDraft:
    """Write a mail of the organisation. If that fails, return a draft with the error.

    Args:
        context: the values that the template takes. The organisation's name and address are added if it has none. Times
            are converted to the organisation's time zone.
        fallback_subject: the subject if the mail cannot be written. Otherwise the template gives it.
        user_id: the user who receives the mail, if they have an account.
        author_id: the user whom the text names, such as the author of a reply.
        link: the address of the mail's link; the channel adds the token of `link_id`.
    """
    about = {"organisation": organisation.name, "support_email": organisation.support_email, **context}
    support_email = about["support_email"]
    assert support_email is None or isinstance(support_email, str)
    make = partial(
        MailDraft,
        recipient=recipient,
        sender_name=organisation.name,
        reply_to=support_email,
        ticket_id=ticket_id,
        user_id=user_id,
        author_id=author_id,
        link=link,
        link_id=link_id,
    )
    try:
        mail = render(template, _localise(organisation, about))
    except Exception as error:
        log.exception("mail_not_rendered", template=template, org_id=str(organisation.id))
        reason = f"The mail could not be written: {type(error).__name__}: {error}"[:MAX_ERROR_LENGTH]
        return make(subject=fallback_subject, error=reason)
    return make(subject=mail.subject, text=mail.text, html=mail.html)


def _localise(organisation: Tenant, context: Mapping[str, ContextValue]) -> dict[str, ContextValue]:
    """Convert the times of a context to the organisation's time zone."""
    zone = ZoneInfo(organisation.timezone)
    return {name: value.astimezone(zone) if isinstance(value, datetime) else value for name, value in context.items()}
