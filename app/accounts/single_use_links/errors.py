"""Errors about single-use links."""

from __future__ import annotations

from app.core.errors import BadInput


class LinkExpired(BadInput):
    """There is no link with this token for this purpose, or it was used, has expired, or was replaced."""

    code = "link_expired"
    title = "This link is not valid: it was used, has expired, or was replaced. Ask for another one."
    advice = "Request another link."
    field = "token"
