"""Refusals about sessions."""

from __future__ import annotations

from app.core.errors import NotFound, Unauthenticated


class SessionNotFound(NotFound):
    """The signed-in user has no session with this id."""

    code = "session_not_found"
    title = "There is no such session."


class InvalidRefreshToken(Unauthenticated):
    """The token is not one of this service, was used before, or its session has ended."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid, has expired, or was used before: sign in again."
