"""Users over HTTP: what admins do with the people of their organisation."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(prefix="/users", tags=["Users"], route_class=Route)
