"""Pictures over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(tags=["Profile"], route_class=Route)
