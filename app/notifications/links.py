"""Links in mails.

A stored mail has a placeholder instead of its link, because the token must not be in the database.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from markupsafe import escape

from app.core.security.opaque_tokens import make_link_token
from app.notifications.mails import OutgoingMail

PLACEHOLDER = "https://link.invalid/"
HIDDEN_TOKEN = "…"  # noqa: S105 - the notification log shows this in place of a token


def fill_in_link(mail: OutgoingMail, *, public_url: str, secret_key: str) -> OutgoingMail:
    """Replace the placeholder in a mail by the mail's link, including the token.

    Args:
        public_url: the base URL of Tessera's own pages, for links that are only a path.
    """
    if mail.link is None or mail.link_id is None:
        return mail
    token = make_link_token(secret_key, mail.org_id, mail.link_id)
    address = f"{_make_absolute(mail.link, public_url)}#token={token}"
    return replace(
        mail,
        text=mail.text.replace(PLACEHOLDER, address),
        html=mail.html and mail.html.replace(PLACEHOLDER, str(escape(address))),
    )


def hide_token(text: str, link: str | None) -> str:
    """Replace the placeholder in a stored text by its link, with `HIDDEN_TOKEN` in place of the token."""
    return text if link is None else text.replace(PLACEHOLDER, f"{link}#token={HIDDEN_TOKEN}")


def make_ticket_url(app_url: str | None, ticket_path: str, ticket_id: UUID, reference: str) -> str | None:
    """Return the address of a ticket in an organisation's front end; `None` if it has no front end.

    Args:
        ticket_path: the path below `app_url`, with `{id}` or `{reference}`.
    """
    if app_url is None:
        return None
    return app_url + ticket_path.replace("{id}", str(ticket_id)).replace("{reference}", reference)


def _make_absolute(link: str, public_url: str) -> str:
    return public_url + link if link.startswith("/") else link
