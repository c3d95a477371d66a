"""What can go wrong with single-use links."""

from __future__ import annotations

from app.core.errors import BadInput


class LinkExpired(BadInput):
    """No link with this token can be used for this purpose, or not any more."""

    code = "link_expired"
    title = "This link is not valid: it was used, has expired, or was replaced. Ask for another one."
    field = "token"
