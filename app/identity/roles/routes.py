"""Roles over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from app.core.http import Route

router = APIRouter(prefix="/roles", tags=["Roles"], route_class=Route)
