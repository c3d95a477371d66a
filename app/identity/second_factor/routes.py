"""The second factor over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(prefix="/auth/2fa", tags=["Signing in"], route_class=Route)
