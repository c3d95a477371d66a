"""Links in mails.

A stored mail has a placeholder in its link's place: the token must not be in the database.
"""

from __future__ import annotations

from dataclasses import replace

from markupsafe import escape

from app.core.security.opaque_tokens import link_token
from app.notifications.mails import OutgoingMail

PLACEHOLDER = "https://link.invalid/"
HIDDEN_TOKEN = "…"  # noqa: S105 - what the notification log shows


def with_link(mail: OutgoingMail, *, public_url: str, secret_key: str) -> OutgoingMail:
    """Return the mail as it is sent, with the address and the token of its link.

    Args:
        public_url: what comes before a link that is only a path: it leads to one of Tessera's own pages.
    """
    if mail.link is None or mail.link_id is None:
        return mail
    token = link_token(secret_key, mail.org_id, mail.link_id)
    address = f"{_absolute(mail.link, public_url)}#token={token}"
    return replace(
        mail,
        text=mail.text.replace(PLACEHOLDER, address),
        html=mail.html and mail.html.replace(PLACEHOLDER, str(escape(address))),
    )


def for_the_log(text: str, link: str | None) -> str:
    """Return a stored text for users to read: its link is shown without the token."""
    return text if link is None else text.replace(PLACEHOLDER, f"{link}#token={HIDDEN_TOKEN}")


def _absolute(link: str, public_url: str) -> str:
    return public_url + link if link.startswith("/") else link
