"""Errors about sessions."""

from __future__ import annotations

from app.core.errors import NotFound, Unauthenticated


class SessionNotFound(NotFound):
    """You have no session with this id, or it has ended."""

    code = "session_not_found"
    title = "There is no such session."
    advice = "`GET /me/sessions` lists your sessions."


class InvalidRefreshToken(Unauthenticated):
    """This service did not issue the refresh token, it was used before or has expired, or its session has ended."""

    code = "invalid_refresh_token"
    title = "The refresh token is not valid, has expired, or was used before: sign in again."
