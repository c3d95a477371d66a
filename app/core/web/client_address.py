"""The network address of a client."""

from __future__ import annotations

from fastapi import Request


def address_of(request: Request) -> str | None:
    """Return the client's address. Behind trusted proxies, it is the address that the proxies report."""
    return request.client.host if request.client else None
