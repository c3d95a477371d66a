"""What the routes of all of identity share."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from app.identity.attempts import Attempts


def attempts_of(request: Request) -> Attempts:
    """What counts attempts."""
    return cast("Attempts", request.app.state.attempts)
