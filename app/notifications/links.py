"""Links in mails. A stored mail has a placeholder in its link's place, since the token must not be in the database."""

from __future__ import annotations

from dataclasses import replace

from markupsafe import escape

from app.core.outbox.deliveries import Message
from app.core.security.opaque_tokens import link_token

PLACEHOLDER = "https://link.invalid/"
HIDDEN_TOKEN = "…"  # noqa: S105 - what the notification log shows


def with_link(message: Message, *, public_url: str, secret_key: str) -> Message:
    """The message as it is sent, with its link's address and token.

    Args:
        public_url: what a link begins with that is only a path: it leads to one of our own pages.
    """
    if message.link is None or message.link_id is None:
        return message
    token = link_token(secret_key, message.org_id, message.link_id)
    address = f"{_absolute(message.link, public_url)}#token={token}"
    return replace(
        message,
        text=message.text.replace(PLACEHOLDER, address),
        html=message.html and message.html.replace(PLACEHOLDER, str(escape(address))),
    )


def for_the_log(text: str, link: str | None) -> str:
    """A stored text for users to read: its link without the token."""
    return text if link is None else text.replace(PLACEHOLDER, f"{link}#token={HIDDEN_TOKEN}")


def _absolute(link: str, public_url: str) -> str:
    return public_url + link if link.startswith("/") else link
