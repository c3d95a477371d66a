"""Social sign-in over HTTP (OpenID Connect)."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(prefix="/auth/oidc", tags=["Signing in"], route_class=Route)
