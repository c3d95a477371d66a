"""The clients that open and use sessions, as their requests describe them."""

from __future__ import annotations

from fastapi import Request

from app.authentication.sessions.service import ClientInfo
from app.core.web.client_address import address_of


def read_client_info(request: Request) -> ClientInfo:
    """Return the client of a request, as its session shows it."""
    return ClientInfo(device=request.headers.get("user-agent", ""), address=address_of(request) or "")
