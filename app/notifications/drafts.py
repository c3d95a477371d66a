"""Mails as they are queued.

A mail is written when it is queued, so that the log shows what was said. One that cannot be written is queued as
failed, and holds up no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog

from app.access.tenant import Tenant
from app.core.outbox.deliveries import Draft
from app.notifications.render import render

EMAIL = "EMAIL"
ERROR_LENGTH = 300

log = structlog.get_logger("tessera.notifications")


def draft(
    organisation: Tenant,
    template: str,
    recipient: str,
    context: Mapping[str, Any],
    *,
    subject: str,
    ticket_id: UUID | None = None,
    user_id: UUID | None = None,
    author_id: UUID | None = None,
    link: str | None = None,
    link_id: UUID | None = None,
) -> Draft:
    """A mail of the organisation's; should it not be possible to write it, a failed one that says why.

    Args:
        context: what the template needs besides the organisation; times are shown in the organisation's time zone.
        subject: of a mail that cannot be written.
        user_id: whose account it is written to, if it is one.
        author_id: who is named in it.
        link: where the mail's link leads, for the channel to complete with the token of `link_id`.
    """
    about = {"organisation": organisation.name, "support_email": organisation.support_email}
    shared: dict[str, Any] = {
        "channel": EMAIL,
        "recipient": recipient,
        "reply_to": organisation.support_email,
        "ticket_id": ticket_id,
        "user_id": user_id,
        "author_id": author_id,
        "link": link,
        "link_id": link_id,
    }
    try:
        mail = render(template, about | _local(organisation, context))
    except Exception as error:
        log.exception("mail_not_rendered", template=template, org_id=str(organisation.id))
        reason = f"The mail could not be written: {type(error).__name__}: {error}"[:ERROR_LENGTH]
        return Draft(**shared, subject=subject, error=reason)
    return Draft(**shared, subject=mail.subject, text=mail.text, html=mail.html)


def _local(organisation: Tenant, context: Mapping[str, Any]) -> dict[str, Any]:
    """The context with its times in the organisation's time zone."""
    zone = ZoneInfo(organisation.timezone)
    return {name: value.astimezone(zone) if isinstance(value, datetime) else value for name, value in context.items()}
