"""What can go wrong with single-use links."""

from __future__ import annotations

from app.core.errors import BadInput


class LinkExpired(BadInput):
    """The token of the link was used, has expired, or was replaced."""

    code = "link_expired"
    title = "This link is not valid: it was used, has expired, or was replaced. Ask for another one."
    advice = "Request another link."
    field = "token"
