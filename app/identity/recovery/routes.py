"""Recovery over HTTP: passwords and e-mail addresses."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(prefix="/auth", tags=["Signing in"], route_class=Route)
