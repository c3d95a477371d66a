"""The client of a request: its network address and its software."""

from __future__ import annotations

from fastapi import Request

MAX_DESCRIPTION_LENGTH = 200  # characters


def address_of(request: Request) -> str | None:
    """Return the client's address. Behind trusted proxies, it is the address that the proxies report."""
    return request.client.host if request.client else None


def describe_client(request: Request) -> str:
    """Describe the client in one line for a mail: `Mozilla/5.0 (X11), 198.51.100.7`."""
    software = " ".join(request.headers.get("user-agent", "").split())[:MAX_DESCRIPTION_LENGTH]
    return f"{software or 'unknown software'}, {address_of(request) or 'unknown address'}"
